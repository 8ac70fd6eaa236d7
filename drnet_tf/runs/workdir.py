"""The folder of one training run, from which it is resumed, evaluated and exported.

run.json                   what is trained on what; written before the first step
checkpoints/step-N.npz     all variables after step N (see checkpoints.py)
metrics.csv, tensorboard/  what happened
norm_moments.json          at which T the moments of normalization were computed again, if they were
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

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from drnet_tf.models.family import Family
from drnet_tf.models.registry import FAMILIES, build_from_config, family_of
from drnet_tf.runs.checkpoints import CHECKPOINTS, Checkpoint, latest_checkpoint
from drnet_tf.runs.settings import Settings
from drnet_tf.writing import write_text

RUN_FILE = "run.json"
NORM_MOMENTS_FILE = "norm_moments.json"
#: Its name in runs of earlier versions.
_OLD_NORM_MOMENTS_FILE = "recalibration.json"
MODEL_FILE = "model.keras"
LOCK_FILE = ".lock"


@dataclasses.dataclass(frozen=True)
class Run:
    """Describes what a workdir holds: all that defines a training run.

    Args:
        model: registered name of the model.
        config: its architecture, with whatever the run changed in it.
        dataset: name of the data set.
        recipe: how it is trained, of the recipe class of its family; None for the default.
        augmentation: what is done to its training images.
        settings: everything else.
        fit: how the data set's images are brought to the model's size; None in runs of earlier
            versions, which did not write it down.
        latencies: the table of measured latencies that E[R] counts, in JSON's types, if it does.
        compression: how the weights were compressed after training, if they were.
    """

    model: str
    config: Any
    dataset: str
    recipe: Any = None
    augmentation: Augmentation = Augmentation()
    settings: Settings = Settings()
    fit: Fit | None = None
    latencies: dict[str, Any] | None = None
    compression: dict[str, Any] | None = None

    def __post_init__(self):
        if self.recipe is None:
            object.__setattr__(self, "recipe", self.family.recipe())

    @property
    def family(self) -> Family:
        """Returns the family of the model."""
        return family_of(self.config)

    def save(self, workdir: str) -> None:
        """Writes run.json."""
        write_text(pathlib.Path(workdir, RUN_FILE), json.dumps(self.to_dict(), indent=2) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of run.json."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("recipe", "augmentation", "settings"):
            values[name] = dataclasses.asdict(values[name])
        return {"family": self.family.name, **values, "config": self.config.to_dict()}

    @classmethod
    def load(cls, workdir: str) -> Run:
        """Reads run.json; a UserError says that there is none, or that it is something else."""
        path = pathlib.Path(workdir, RUN_FILE)
        if not path.is_file():
            raise UserError(f"{workdir} is no workdir of a training run: it has no {RUN_FILE}")
        try:
            return cls.from_dict(json.loads(path.read_text()))
        except (ValueError, TypeError, KeyError, AttributeError, UserError) as error:
            raise UserError(f"{path} does not describe a training run: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Run:
        """Reads the content of a run.json, of earlier versions too."""
        values = dict(values)
        # Before there were families there was DRNet.
        family = FAMILIES[values.pop("family", "drnet")]
        if "recipe" not in values:
            values = _of_one_dict(values, family)
        fit = values.get("fit")
        return cls(
            **values
            | {
                "config": family.config.from_dict(values["config"]),
                "recipe": family.recipe(**values["recipe"]),
                "augmentation": Augmentation(**values["augmentation"]),
                "settings": Settings(**values["settings"]),
                "fit": fit and Fit(fit),
            }
        )


#: Names that settings had in earlier versions, in run.json and as flags, and those that they have.
RENAMED_SETTINGS = {
    "recalibrate_threshold": "norm_moments_threshold",
    "recalibrate_images": "norm_moments_images",
}


def _of_one_dict(values: dict[str, Any], family: Family) -> dict[str, Any]:
    """Takes the one dictionary of settings of earlier versions apart.

    What it lacks came later, and was not done then: it has its default.
    """
    flat = {
        RENAMED_SETTINGS.get(name, name): value for name, value in values.pop("settings").items()
    }
    parts = {"recipe": family.recipe, "augmentation": Augmentation, "settings": Settings}
    for part, description in parts.items():
        names = [field.name for field in dataclasses.fields(description)]
        values[part] = {name: flat.pop(name) for name in names if name in flat}
    if flat.get("latencies"):
        flat["latencies"] = {"family": family.name, **flat["latencies"]}
    return values | flat


@dataclasses.dataclass(frozen=True)
class Trained:
    """Holds a trained model and where it came from.

    Args:
        checkpoint: path of the checkpoint.
        step: training steps that it has seen.
    """

    model: Any
    run: Run
    checkpoint: pathlib.Path
    step: int


@contextlib.contextmanager
def claimed(workdir: str) -> Iterator[None]:
    """Keeps other processes from training in a workdir, where none may do so already."""
    pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
    # The system releases the lock when the process ends, however it ends.
    with pathlib.Path(workdir, LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process trains in {workdir}; wait for it to end") from error
        yield


def load_trained(workdir: str) -> Trained:
    """Loads the model of a workdir, with the weights of its latest checkpoint, in float32.

    They are averaged, and at the end of a run have norm moments, where its recipe says so.

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


def read_norm_moments(workdir: str) -> dict | None:
    """Reads at which `threshold`, and on how many `images`, norm moments were computed again.

    None where that was not done.
    """
    paths = [pathlib.Path(workdir, name) for name in (NORM_MOMENTS_FILE, _OLD_NORM_MOMENTS_FILE)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None
    try:
        values = json.loads(path.read_text())
        return {"images": int(values["images"]), "threshold": float(values["threshold"])}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: how many images, and what threshold?") from error
