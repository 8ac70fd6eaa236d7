"""The .npz writer: complete and equal to the data set, or not there at all."""

from pathlib import Path

import numpy as np
import pytest

import drnet_tf.data.write_npz as command
from drnet_tf.data.catalogue import Dataset, open_dataset
from drnet_tf.data.errors import DataError
from drnet_tf.data.in_memory import load_npz, load_tfds
from drnet_tf.data.write_npz import write_npz
from tests.training.commands import run_command


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


def test_command_writes_the_file_or_ends_with_one_line(
    digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def run(dataset: str) -> str | None:
        folders = (f"--data_dir={digits_folder}", f"--output={tmp_path / 'x.npz'}")
        return run_command(command, f"--dataset={dataset}", *folders)

    line = run("no_such_set")
    assert line is not None and "Unknown data set 'no_such_set'" in line and "\n" not in line
    assert not (tmp_path / "x.npz").exists()
    assert run("digits") is None
    assert "1197 train, 200 validation, 400 test images of digits" in capsys.readouterr().out
    assert load_npz(str(tmp_path / "x.npz")).splits["test"][0].shape == (400, 8, 8, 3)
