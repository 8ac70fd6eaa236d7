"""Tells whether a workdir holds the run that a command describes, which is then resumed."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from drnet_tf.errors import UserError
from drnet_tf.runs.checkpoints import latest_checkpoint, list_checkpoints
from drnet_tf.runs.workdir import RUN_FILE, Run
from drnet_tf.training.placement import Placement

#: Settings that may differ when a run is resumed: they do not change what it computes.
FREE_SETTINGS = (
    "data_dir",
    "checkpoint_minutes",
    "distribution",
    "latency_table",
    "validate_epochs",
)


def holds_run(workdir: str, run: Run) -> bool:
    """Tells whether the workdir holds this run already; another run, or a file, is refused."""
    if not pathlib.Path(workdir, RUN_FILE).exists():
        if pathlib.Path(workdir).exists() and not pathlib.Path(workdir).is_dir():
            raise UserError(f"--workdir={workdir} is a file; name a folder")
        if list_checkpoints(workdir):
            raise UserError(f"{workdir} has checkpoints but no {RUN_FILE} that says of what")
        return False
    old = Run.load(workdir)
    before, now = _flat(old), _flat(run)
    differing = [name for name in now if before.get(name) != now[name]]
    if differing:
        name = differing[0]
        if name == "latencies" and old.latencies:
            raise UserError(
                f"{workdir} holds a run with another table of latencies; leave out "
                "--latency_table to resume with its own, or name another folder"
            )
        raise UserError(
            f"{workdir} holds another run: its {name} is {before.get(name)}, not {now[name]}; "
            "use its settings to resume it, or name another folder"
        )
    return True


def check_others(workdir: str, run: Run, placement: Placement) -> None:
    """Waits for the processes that share the run, which must do the same on the same files."""
    placement.agree("what they train", json.dumps(_flat(run)))
    if not holds_run(workdir, run):
        raise UserError(f"--workdir={workdir} must be one folder that all processes of the run see")
    path = latest_checkpoint(workdir)
    placement.agree(f"the checkpoints that they see in {workdir}", path.name if path else "")


def _flat(run: Run) -> dict[str, Any]:
    """Returns all that defines a run, in the types that JSON has, by name."""
    values = {
        "model": run.model,
        "dataset": run.dataset,
        **run.config.to_dict(),
        **dataclasses.asdict(run.recipe),
        **dataclasses.asdict(run.augmentation),
        **dataclasses.asdict(run.settings),
        "latencies": run.latencies,
        "compression": run.compression,
    }
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in FREE_SETTINGS
    }
