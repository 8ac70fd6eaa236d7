"""Trains a DRNet: python -m drnet_tf.train --flagfile=configs/NAME.flags --workdir=DIR

The same command goes on where a run that was stopped left off.
"""

from __future__ import annotations

from absl import flags

from drnet_tf import command_line
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.errors import UserError
from drnet_tf.runs.settings import Settings
from drnet_tf.training.session import train
from drnet_tf.training_flags import config_from_flags, define_flags, read_flags, read_recipe


def train_from_flags() -> int:
    """Trains as the flags say; returns the number of steps done."""
    values = flags.FLAGS
    for name in ("workdir", "model", "dataset"):
        if not values[name].value:
            raise UserError(f"--{name} is needed; a --flagfile from configs/ sets the rest")
    config = config_from_flags()
    return train(
        values.workdir,
        values.model,
        config,
        values.dataset,
        read_recipe(),
        read_flags(Augmentation, fill=config.mean),
        read_flags(Settings),
    )


def main() -> None:
    steps = train_from_flags()
    workdir = flags.FLAGS.workdir
    print(f"trained {steps} steps; next: python -m drnet_tf.evaluate --workdir={workdir}")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
