"""Damaged files end in an error that names them."""

import shutil
from pathlib import Path

import pytest

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.catalogue import Dataset, open_dataset
from drnet_tf.data.damage import guarded
from drnet_tf.data.errors import DataError
from drnet_tf.data.pipeline import evaluation_batches, training_batches


@pytest.fixture
def copy(digits_folder: Path, tmp_path: Path) -> tuple[Dataset, Path]:
    """A copy of the digits and the file of its training split."""
    shutil.copytree(digits_folder / "digits", tmp_path / "digits")
    file = next(tmp_path.glob("digits/*/digits-train.tfrecord*"))
    return open_dataset("digits", str(tmp_path)), file


def _read_in_memory(dataset: Dataset) -> None:
    augmentation = Augmentation()
    training_batches(
        dataset, image_size=8, batch_size=8, augmentation=augmentation, seed=0, epoch=0
    )


def _read_as_stream(dataset: Dataset) -> None:
    augmentation = Augmentation(random_resized_crop=True)
    batches = training_batches(
        dataset, image_size=8, batch_size=8, augmentation=augmentation, seed=0, epoch=0
    )
    for _ in guarded(batches, dataset, "train"):
        pass


@pytest.mark.parametrize("read", [_read_in_memory, _read_as_stream])
def test_corrupt_record_is_named_with_its_file(copy: tuple[Dataset, Path], read) -> None:
    dataset, file = copy
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged after record [1-9]") as caught:
        read(dataset)
    assert str(file) in str(caught.value) and "train split of digits" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [_read_in_memory, _read_as_stream])
def test_truncated_file_is_named(copy: tuple[Dataset, Path], read) -> None:
    dataset, file = copy
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=f"{file.name}.* is damaged"):
        read(dataset)


@pytest.mark.parametrize("read", [_read_in_memory, _read_as_stream])
def test_missing_file_is_named(copy: tuple[Dataset, Path], read) -> None:
    dataset, file = copy
    file.unlink()
    with pytest.raises(DataError, match=f"{file.name}.* is missing"):
        read(dataset)


@pytest.mark.parametrize("read", [_read_in_memory, _read_as_stream])
def test_file_with_too_few_records_is_named(copy: tuple[Dataset, Path], read) -> None:
    dataset, file = copy
    file.write_bytes(b"")
    with pytest.raises(DataError, match=f"{file.name}.* holds 0 of its 1197 records"):
        read(dataset)


def test_errors_of_the_consumer_pass_unchanged(digits: Dataset) -> None:
    batches = evaluation_batches(digits, "test", image_size=8, batch_size=8)
    with pytest.raises(KeyError):
        for _ in guarded(batches, digits, "test"):
            raise KeyError("mine")
