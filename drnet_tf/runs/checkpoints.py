"""Checkpoints: every variable of a run by its path, the same on every backend.

A checkpoint is a NumPy .npz archive. It is written under a temporary name and renamed, so that
what has the final name is whole, whenever the process is killed.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.writing import replacing

CHECKPOINTS = "checkpoints"
KEPT = 2
_STEP_KEY = "step"
_PARTS = ("model", "optimizer", "average", "norm_moments")
#: Names that parts have in checkpoints of earlier versions.
_RENAMED = {"recalibrated": "norm_moments"}
# What NumPy and zipfile raise for files that are cut short, altered, or something else.
_DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    OSError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)

_NAME = re.compile(r"step-(\d{9})\.npz")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Holds the state after `step` training steps.

    Args:
        step: number of steps done.
        model: values of the model's variables by path, seeds of its noise included.
        optimizer: values of the optimizer's variables by path.
        average: values that stand for the model's in the finished model (see averaging.py), by
            path; those that are missing are in `model`.
        norm_moments: values that stand for both (see norm_moments.py); only at the end of a run.
    """

    step: int
    model: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray]
    average: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    norm_moments: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, step: int, model, optimizer=None, average=None) -> Checkpoint:
        """Reads the state of a model, and of its optimizer, after `step` steps."""
        return cls(
            step,
            _values(model.variables),
            _values(optimizer.variables if optimizer is not None else ()),
            dict(average or {}),
        )

    def write(self, workdir: str) -> pathlib.Path:
        """Writes the checkpoint and removes all but the last few."""
        folder = pathlib.Path(workdir, CHECKPOINTS)
        path = folder / f"step-{self.step:09d}.npz"
        arrays = {f"{part}/{k}": v for part in _PARTS for k, v in getattr(self, part).items()}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, **{_STEP_KEY: np.array(self.step)})
        for old in list_checkpoints(workdir)[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    @classmethod
    def read(cls, path: pathlib.Path | str) -> Checkpoint:
        """Reads a checkpoint; a UserError says that the file is damaged or something else."""
        try:
            with np.load(path) as file:
                arrays = {key: file[key] for key in file.files}
            step = int(arrays.pop(_STEP_KEY))
            parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in _PARTS}
            for key, value in arrays.items():
                part, _, variable = key.partition("/")
                parts[_RENAMED.get(part, part)][variable] = value
        except _DAMAGE as error:
            raise UserError(
                f"{path} is not a whole checkpoint ({error}); delete it to use an earlier one"
            ) from error
        return cls(step, **parts)

    def restore(self, model, optimizer=None) -> None:
        """Sets the variables of a model, and of its optimizer, to resume training.

        Raises:
            UserError: the checkpoint is of another model.
        """
        _assign(model.variables, self.model)
        if optimizer is not None:
            _assign(optimizer.variables, self.optimizer)

    def restore_finished(self, model) -> None:
        """Does so to use the model: averaged, and with norm moments, where there are any."""
        _assign(model.variables, self.model | self.average | self.norm_moments)


def list_checkpoints(workdir: str) -> list[pathlib.Path]:
    """Lists the checkpoints of a workdir, the latest last."""
    folder = pathlib.Path(workdir, CHECKPOINTS)
    return sorted(path for path in folder.glob("step-*.npz") if _NAME.fullmatch(path.name))


def latest_checkpoint(workdir: str) -> pathlib.Path | None:
    """Finds the latest checkpoint of a workdir, None where there is none."""
    paths = list_checkpoints(workdir)
    return paths[-1] if paths else None


def _values(variables: Iterable) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {}
    for variable in variables:
        if variable.path in values:
            raise ValueError(f"two variables have the path {variable.path}")
        values[variable.path] = np.asarray(variable)
    return values


def _assign(variables: Iterable, values: dict[str, np.ndarray]) -> None:
    variables = list(variables)
    expected = {v.path: tuple(v.shape) for v in variables}
    found = {path: value.shape for path, value in values.items()}
    if expected != found:
        differing = sorted(
            path for path in expected.keys() | found if expected.get(path) != found.get(path)
        )
        raise UserError(
            f"the checkpoint is of another model: {len(differing)} variables differ, "
            f"the first is {differing[0]}: {found.get(differing[0], 'not in the checkpoint')} "
            f"there, {expected.get(differing[0], 'not in the model')} here"
        )
    for variable in variables:
        variable.assign(values[variable.path])
