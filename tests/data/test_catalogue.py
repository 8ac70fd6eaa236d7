"""Opening data sets: splits, and errors in place of tracebacks."""

import socket
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from drnet_tf.data import preparation
from drnet_tf.data.catalogue import open_dataset
from drnet_tf.data.errors import DataError


def _prepare(folder: Path, name: str, splits: dict[str, int], features: dict | None = None) -> None:
    """Writes a tiny prepared set of that name into `folder`."""
    features = features or {
        "image": tfds.features.Image(shape=(4, 4, 3)),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    }

    def examples(count: int):
        for index in range(count):
            yield {
                key: np.full((4, 4, 3), index, np.uint8) if key == "image" else index % 2
                for key in features
            }

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: list(enumerate(examples(count))) for split, count in splits.items()},
        data_dir=folder,
    )


def test_holds_out_a_tenth_of_train_where_there_is_no_validation_split(tmp_path: Path) -> None:
    _prepare(tmp_path, "cifar10", {"train": 20, "test": 5})
    dataset = open_dataset("cifar10", str(tmp_path))
    assert dict(dataset.splits) == {
        "train": "train[:90%]",
        "validation": "train[90%:]",
        "test": "test",
    }
    assert dict(dataset.num_examples) == {"train": 18, "validation": 2, "test": 5}
    assert dataset.class_names == ("cat", "dog")


def test_validation_serves_as_test_for_imagenet(tmp_path: Path) -> None:
    _prepare(tmp_path, "imagenet2012", {"train": 200, "validation": 5})
    dataset = open_dataset("imagenet2012", str(tmp_path))
    assert dict(dataset.num_examples) == {"train": 198, "validation": 2, "test": 5}
    assert dataset.split("test") == "validation"


def test_training_on_validation_leaves_no_validation_split(digits_folder, tmp_path: Path) -> None:
    dataset = open_dataset("digits", str(digits_folder), train_on_validation=True)
    assert dataset.splits["validation"] is None
    assert dict(dataset.num_examples) == {"train": 1397, "validation": 0, "test": 400}
    with pytest.raises(DataError, match="no 'validation' split"):
        dataset.split("validation")

    _prepare(tmp_path, "cifar10", {"train": 20, "test": 5})
    dataset = open_dataset("cifar10", str(tmp_path), train_on_validation=True)
    assert dataset.splits["train"] == "train"
    assert dataset.num_examples["train"] == 20


def test_opening_a_prepared_copy_writes_nothing_and_asks_no_server(
    digits_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    def state() -> dict:
        return {path: path.stat().st_mtime_ns for path in digits_folder.rglob("*")}

    before = state()
    open_dataset("digits", str(digits_folder))
    assert state() == before


@pytest.mark.parametrize("download", [True, False])
def test_missing_set_ends_in_one_sentence_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: bool
) -> None:
    # A proxy that refuses connections is a machine without network.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        open_dataset("cifar100", str(tmp_path / "none"), download=download)
    assert time.monotonic() - start < 10
    message = str(caught.value)
    assert "cifar100 is not prepared" in message and str(tmp_path) in message
    assert "--data_dir" in message and "network" in message
    assert "\n" not in message
    assert not (tmp_path / "none").exists()


def test_name_lookup_that_hangs_counts_as_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    monkeypatch.setattr(preparation, "_PROBE_SECONDS", 0.1)
    monkeypatch.setattr(requests, "head", lambda *args, **kwargs: time.sleep(20))
    start = time.monotonic()
    assert not preparation._reachable("https://example.com")
    assert time.monotonic() - start < 5


def test_failure_during_the_download_ends_in_the_same_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self, **kwargs) -> None:
        raise ConnectionError("reset by peer\nsecond line")

    monkeypatch.setattr(preparation, "_reachable", lambda url: True)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(DataError, match="^cifar100 is not prepared in [^\n]*network[^\n]*$"):
        open_dataset("cifar100", str(tmp_path))


class GreySquares(tfds.core.GeneratorBasedBuilder):
    """A set that is not prepared yet and needs no download."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(4, 4, 1))
        label = tfds.features.ClassLabel(num_classes=2)
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(20), "test": self._generate_examples(5)}

    def _generate_examples(self, count):
        for index in range(count):
            yield index, {"image": np.zeros((4, 4, 1), np.uint8), "label": index % 2}


def test_first_preparation_shows_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(preparation, "_reachable", lambda url: True)
    dataset = open_dataset("grey_squares", str(tmp_path))
    assert dict(dataset.num_examples) == {"train": 18, "validation": 2, "test": 5}
    assert "Generating train examples" in capfd.readouterr().err


def test_preparation_of_the_embedded_digits_is_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    open_dataset("digits", str(tmp_path))
    assert "Generating" not in capfd.readouterr().err


def test_imagenet_says_where_its_archives_go(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="downloads/manual"):
        open_dataset("imagenet2012", str(tmp_path))


def test_unknown_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Unknown data set 'cifarten'"):
        open_dataset("cifarten", str(tmp_path))


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(DataError, match="digits in .*file"):
        open_dataset("digits", str(file))


def test_set_without_labels_is_refused(tmp_path: Path) -> None:
    image = tfds.features.Image(shape=(4, 4, 3))
    _prepare(tmp_path, "no_labels", {"train": 20, "test": 5}, {"image": image})
    with pytest.raises(DataError, match="no 'image' and class 'label' features"):
        open_dataset("no_labels", str(tmp_path))


def test_set_without_test_images_is_refused(tmp_path: Path) -> None:
    _prepare(tmp_path, "only_train", {"train": 20})
    with pytest.raises(DataError, match="has the splits \\['train'\\]: needed are"):
        open_dataset("only_train", str(tmp_path))


def test_empty_split_is_refused(tmp_path: Path) -> None:
    _prepare(tmp_path, "tiny", {"train": 4, "test": 2})  # a tenth of 4 is none
    with pytest.raises(DataError, match="validation split of tiny .* is empty"):
        open_dataset("tiny", str(tmp_path))


def test_damaged_description_is_named(tmp_path: Path) -> None:
    _prepare(tmp_path, "damaged", {"train": 20, "test": 5})
    (tmp_path / "damaged" / "1.0.0" / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="prepared copy of damaged in .* cannot be read"):
        open_dataset("damaged", str(tmp_path))
