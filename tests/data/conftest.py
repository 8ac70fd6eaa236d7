"""Data sets that the tests of this folder share."""

from pathlib import Path

import pytest

from drnet_tf.data.catalogue import Dataset, open_dataset


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, with a space in its path, in which the digits are prepared."""
    folder = tmp_path_factory.mktemp("data of digits")
    open_dataset("digits", str(folder))
    return folder


@pytest.fixture
def digits(digits_folder: Path) -> Dataset:
    """The digits, with nothing held in memory yet."""
    return open_dataset("digits", str(digits_folder))
