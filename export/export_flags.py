"""The flags of commands on an export and the training run that it was made from."""

from __future__ import annotations

from absl import flags

from drnet_tf.errors import UserError
from drnet_tf.training.workdir import Trained, load_trained
from export import artifacts
from export.run_data import require_tensorflow


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
    artifacts.check_files(flags.FLAGS.export_dir)
    trained = load_trained(flags.FLAGS.workdir)
    artifacts.check_source(flags.FLAGS.export_dir, trained)
    return trained
