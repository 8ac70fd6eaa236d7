"""The flags of commands on an export and the training run that it was made from."""

from __future__ import annotations

import keras
from absl import flags

from drnet_tf.data.evaluation_images import EvaluationImages, open_images
from drnet_tf.errors import UserError
from drnet_tf.runs.workdir import Run, Trained, load_trained
from export.folder.export import check_files, check_source


def define_export_flags() -> None:
    """Defines the flags of a command on an export and the run that it was made from."""
    flags.DEFINE_string("workdir", None, "Folder of a training run.")
    flags.DEFINE_string("export_dir", None, "Folder of its export.")
    flags.DEFINE_string("data_dir", None, "Prepared data set, instead of the run's.")


def check_export_flags() -> None:
    """Raises:
    UserError: a folder is not given.
    """
    if not flags.FLAGS.workdir or not flags.FLAGS.export_dir:
        raise UserError("needed are --workdir, a training run, and --export_dir, its export")


def load_exported() -> Trained:
    """The run that the flags name, after a look at whether the export is whole and is of it.

    Raises:
        UserError: it is not, or there is no such run.
    """
    require_tensorflow()
    check_files(flags.FLAGS.export_dir)
    trained = load_trained(flags.FLAGS.workdir)
    check_source(flags.FLAGS.export_dir, trained)
    return trained


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
