"""What the command lines of this package read from the data set of a training run."""

from __future__ import annotations

import numpy as np

from drnet_tf.data import DataError, Dataset, evaluation_batches, open_dataset
from drnet_tf.errors import UserError
from drnet_tf.training.workdir import Run

_BATCH = 64


def open_run_dataset(run: Run, data_dir: str | None) -> Dataset:
    """The data set that a model was trained on.

    Args:
        data_dir: folder of prepared data sets; None for the one of the run.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return open_dataset(run.dataset, data_dir or run.settings.get("data_dir"), download=False)
    except DataError as error:
        raise UserError(str(error)) from error


def read_test_images(dataset: Dataset, count: int, image_size: int) -> np.ndarray:
    """The first images of the test split, float32 [count, image_size, image_size, 3] in 0..255.

    Raises:
        UserError: they cannot be read.
    """
    if count < 1:
        raise UserError(f"--images must be 1 or more, not {count}")
    try:
        batches = evaluation_batches(
            dataset, "test", image_size=image_size, batch_size=_BATCH, limit=count
        )
        return np.concatenate([images.numpy() for images, _ in batches])
    except DataError as error:
        raise UserError(str(error)) from error
