"""Trains a model: python -m drnet_tf.train --flagfile=configs/NAME.flags --workdir=DIR

If a run is interrupted, repeat the command: it resumes.
"""

from __future__ import annotations

from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.training.session import train
from drnet_tf.training_flags import define_flags, read_run


def train_from_flags() -> int:
    """Trains as the flags say; returns the number of steps done."""
    if not flags.FLAGS.workdir:
        raise UserError("--workdir is needed; a --flagfile from configs/ sets the rest")
    return train(flags.FLAGS.workdir, read_run())


def main() -> None:
    steps = train_from_flags()
    workdir = flags.FLAGS.workdir
    print(f"trained {steps} steps; next: python -m drnet_tf.evaluate --workdir={workdir}")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
