"""The folder of one training run, from which it is resumed, evaluated and exported.

run.json                   what is trained on what; written before the first step
checkpoints/step-N.npz     all variables after step N (see checkpoints.py)
metrics.csv, tensorboard/  what happened
recalibration.json         how the moments of the finished model were recalibrated, if they were
model.keras                the finished model, for use from Keras
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from drnet_tf.errors import UserError
from drnet_tf.models import DRNet, build_from_config
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.runs.checkpoints import CHECKPOINTS, Checkpoint, latest_checkpoint
from drnet_tf.writing import write_text


def read_recalibration(workdir: str) -> dict | None:
    """The content of `RECALIBRATION_FILE`, None where there is no such file.

    Raises:
        UserError: it is damaged.
    """
    path = pathlib.Path(workdir, RECALIBRATION_FILE)
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())
        return {"images": int(values["images"]), "threshold": float(values["threshold"])}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: how many images, and what threshold?") from error


RUN_FILE = "run.json"


RECALIBRATION_FILE = "recalibration.json"


MODEL_FILE = "model.keras"


LOCK_FILE = ".lock"


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


@contextlib.contextmanager
def claimed(workdir: str) -> Iterator[None]:
    """Keeps other processes from training in a workdir.

    Raises:
        UserError: one does already.
    """
    pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
    # The system releases the lock when the process ends, however it ends.
    with pathlib.Path(workdir, LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process trains in {workdir}; wait for it to end") from error
        yield


def load_trained(workdir: str) -> Trained:
    """The model of a workdir, with the weights of its latest checkpoint, in float32.

    They are averaged, and at the end of a run recalibrated, where its recipe says so.

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
    checkpoint.restore_finished(model)
    return Trained(model, run, path, checkpoint.step)
