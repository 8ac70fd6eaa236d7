"""The .npz writer: complete and equal to the data set, or not there at all."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drnet_tf.data.catalogue import Dataset, open_dataset
from drnet_tf.data.errors import DataError
from drnet_tf.data.in_memory import load_npz, load_tfds
from drnet_tf.data.write_npz import write_npz
from tests.source_tree import ROOT


def test_file_holds_what_the_data_set_does(digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "digits.npz"
    progress = []
    write_npz(digits, str(path), on_progress=lambda *report: progress.append(report))
    ends = [(done, split) for done, total, split in progress if done == total]
    assert ends == [(1197, "train"), (200, "validation"), (400, "test")]
    assert progress[0] == (256, 1197, "train")
    written, expected = load_npz(str(path)), load_tfds(digits, image_size=8)
    assert written.class_names == expected.class_names
    for split, (images, labels) in expected.splits.items():
        assert np.array_equal(written.splits[split][0], images)
        assert np.array_equal(written.splits[split][1], labels)
    assert [file.name for file in path.parent.iterdir()] == ["digits.npz"]


def test_no_validation_arrays_where_it_is_trained_on(digits_folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset("digits", str(digits_folder), train_on_validation=True)
    write_npz(dataset, str(tmp_path / "digits.npz"), image_size=4)
    written = load_npz(str(tmp_path / "digits.npz"))
    assert {split: images.shape for split, (images, _) in written.splits.items()} == {
        "train": (1397, 4, 4, 3),
        "test": (400, 4, 4, 3),
    }


def test_failed_write_leaves_the_old_file(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digits.npz"
    path.write_bytes(b"old")

    def fail(file, allow_pickle, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(DataError, match="No space left on device"):
        write_npz(digits, str(path))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_endings_are_refused(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must end in .npz"):
        write_npz(digits, str(tmp_path / "digits.zip"))


@pytest.mark.slow
def test_command_writes_the_file_or_exits_1_with_one_line(
    digits_folder: Path, tmp_path: Path
) -> None:
    def start(dataset: str) -> subprocess.Popen:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "drnet_tf.data.write_npz", f"--dataset={dataset}"),
                *(f"--data_dir={digits_folder}", f"--output={tmp_path / 'x.npz'}"),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    right, wrong = start("digits"), start("no_such_set")
    _, errors = wrong.communicate()
    assert wrong.returncode == 1 and "Unknown data set 'no_such_set'" in errors
    assert "Traceback" not in errors
    output, errors = right.communicate()
    assert right.returncode == 0, errors
    assert "1197 train, 200 validation, 400 test images of digits" in output
    assert load_npz(str(tmp_path / "x.npz")).splits["test"][0].shape == (400, 8, 8, 3)
