"""Begins a run with the weights of another, for one first stage with several second stages."""

from __future__ import annotations

from typing import Any

from drnet_tf.errors import UserError
from drnet_tf.runs.checkpoints import Checkpoint, latest_checkpoint
from drnet_tf.runs.workdir import Run


def initial_checkpoint(source: str, workdir: str, config: Any) -> Checkpoint | None:
    """Finds the checkpoint that a run begins with: the latest one of the run in `source`.

    None where the run in `workdir` has a checkpoint of its own already, with which it resumes. The
    architecture of both must be `config`.
    """
    if latest_checkpoint(workdir) is not None:
        return None
    other = Run.load(source).config.to_dict()
    path = latest_checkpoint(source)
    if path is None:
        raise UserError(f"--initial_weights={source} has no checkpoint: it is not trained yet")
    values = config.to_dict()
    differing = [name for name in values if other.get(name) != values[name]]
    if differing:
        name = differing[0]
        raise UserError(
            f"--initial_weights={source} is of another architecture: its {name} is "
            f"{other.get(name)}, not {values[name]}"
        )
    return Checkpoint.read(path)
