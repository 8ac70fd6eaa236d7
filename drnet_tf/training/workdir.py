"""The folder of one training run, from which it is resumed, evaluated and exported.

run.json                   what is trained on what; written before the first step
checkpoints/step-N.npz     all variables after step N (see checkpoints.py)
metrics.csv, tensorboard/  what happened
model.keras                the finished model, for use from Keras
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from drnet_tf.architecture import DRNetConfig
from drnet_tf.errors import UserError
from drnet_tf.models import DRNet, build_from_config
from drnet_tf.training.checkpoints import CHECKPOINTS, Checkpoint, latest_checkpoint
from drnet_tf.writing import write_text

RUN_FILE = "run.json"
MODEL_FILE = "model.keras"


@dataclasses.dataclass(frozen=True)
class Run:
    """What a workdir holds.

    Args:
        model: registered name of the model.
        config: its architecture, with whatever the run changed in it.
        dataset: name of the data set.
        settings: every other setting of the training, by name.
    """

    model: str
    config: DRNetConfig
    dataset: str
    settings: dict[str, Any]

    def save(self, workdir: str) -> None:
        values = dataclasses.asdict(self) | {"config": self.config.to_dict()}
        write_text(pathlib.Path(workdir, RUN_FILE), json.dumps(values, indent=2) + "\n")

    @classmethod
    def load(cls, workdir: str) -> Run:
        path = pathlib.Path(workdir, RUN_FILE)
        if not path.is_file():
            raise UserError(f"{workdir} is no workdir of a training run: it has no {RUN_FILE}")
        try:
            values = json.loads(path.read_text())
            return cls(**values | {"config": DRNetConfig.from_dict(values["config"])})
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} does not describe a training run: {error}") from error


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model and where it came from.

    Args:
        checkpoint: path of the checkpoint.
        step: training steps that it has seen.
    """

    model: DRNet
    run: Run
    checkpoint: pathlib.Path
    step: int


def load_trained(workdir: str) -> Trained:
    """The model of a workdir, with the weights of its latest checkpoint, in float32.

    Raises:
        UserError: no run, no checkpoint, or one that is damaged or of another model.
    """
    run = Run.load(workdir)
    path = latest_checkpoint(workdir)
    if path is None:
        raise UserError(
            f"{workdir} has no checkpoint in {CHECKPOINTS}/ yet: train it first, with "
            f"python -m drnet_tf.train --workdir={workdir}"
        )
    model = build_from_config(run.config)
    checkpoint = Checkpoint.read(path)
    checkpoint.restore(model)
    return Trained(model, run, path, checkpoint.step)
