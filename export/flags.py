"""The flags of commands on an export and the training run that it was made from."""

from __future__ import annotations

import math

import keras
import numpy as np
from absl import flags

from drnet_tf.data.evaluation_images import first_images
from drnet_tf.errors import UserError
from drnet_tf.evaluation.trained import open_run_images
from drnet_tf.flags import define_run_flags, require_flags
from drnet_tf.runs.workdir import Trained, load_trained
from drnet_tf.writing import check_folder_writable
from export.folder.export import Export


def define_export_flags() -> None:
    """Defines --workdir, --export_dir and --data_dir, of a command on an export and its run."""
    define_run_flags()
    flags.DEFINE_string("export_dir", None, "Folder of the run's export.")


def require_export_flags() -> None:
    """Raises a UserError unless --workdir and --export_dir are given."""
    require_flags(workdir="a training run", export_dir="its export")


def open_export(writable: bool = False) -> tuple[Trained, Export]:
    """Opens what --workdir and --export_dir name, and checks that they belong together.

    The export comes first: whether its files are whole is known before a model is built.

    Args:
        writable: whether something will be added to the export.

    Raises:
        UserError: a flag is missing, the export is not whole or not of that run, there is no such
            run, or Keras does not run on TensorFlow.
        OSError: nothing can be added.
    """
    require_export_flags()
    require_tensorflow()
    export = Export.open(flags.FLAGS.export_dir)
    if writable:
        check_folder_writable(flags.FLAGS.export_dir)
    trained = load_trained(flags.FLAGS.workdir)
    export.check_source(trained)
    return trained, export


def open_test_images(trained: Trained) -> np.ndarray:
    """Reads the first --images test images of a run, from --data_dir where it is given."""
    values = flags.FLAGS
    return first_images(open_run_images(trained.run, values.data_dir), "test", values.images)


def define_seconds_flag(default: float, text: str = "How long to time.") -> None:
    """Defines --seconds, a finite number."""
    flags.DEFINE_float("seconds", default, text, lower_bound=0.0)
    flags.register_validator("seconds", math.isfinite, "it must be a number of seconds")


def require_tensorflow() -> None:
    """Raises a UserError unless Keras runs on TensorFlow: other graphs cannot be exported."""
    if keras.backend.backend() != "tensorflow":
        raise UserError("exports need KERAS_BACKEND=tensorflow; the checkpoint may be of any")
