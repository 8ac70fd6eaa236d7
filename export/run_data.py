"""What the command lines of this package read from the data set of a training run."""

from __future__ import annotations

import keras

from drnet_tf.data.evaluation_images import EvaluationImages, open_images
from drnet_tf.errors import UserError
from drnet_tf.training.workdir import Run


def require_tensorflow() -> None:
    """Raises:
    UserError: Keras runs on another backend, whose graphs cannot be exported.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("exports need KERAS_BACKEND=tensorflow; the checkpoint may be of any")


def open_run_images(run: Run, data_dir: str | None) -> EvaluationImages:
    """The data set that a model was trained on.

    Args:
        data_dir: folder of prepared data sets; None for the one of the run.
    """
    return open_images(
        run.dataset,
        data_dir or run.settings.get("data_dir"),
        run.config.image_size,
        train_on_validation=run.settings.get("train_on_validation", False),
    )
