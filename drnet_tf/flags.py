"""Flags and checks that commands share: each is defined, explained and refused in one place.

Flags are defined by functions, not on import, so that commands can use each other's functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from drnet_tf.errors import UserError
from drnet_tf.models.family import Family
from drnet_tf.runs.workdir import Trained
from drnet_tf.writing import check_writable, write_text


def define_run_flags() -> None:
    """Defines --workdir and --data_dir, of a command on a training run."""
    flags.DEFINE_string("workdir", None, "Folder of a training run.")
    flags.DEFINE_string("data_dir", None, "Folder of the prepared data set, instead of the run's.")


def define_thresholds_flag() -> None:
    """Defines --thresholds and its other name --threshold; `read_thresholds` reads it."""
    text = "Values of the threshold T, such as 0,0.5,1; those that are customary if not given."
    flags.DEFINE_list("thresholds", None, text)
    flags.DEFINE_alias("threshold", "thresholds")


def define_threshold_flag(text: str) -> None:
    """Defines --threshold, one value; `read_threshold` reads it."""
    flags.DEFINE_float("threshold", None, f"{text}; the family's default if not given.")


def define_json_flag() -> None:
    """Defines --json; `check_json` and `write_json` read it."""
    flags.DEFINE_string("json", None, "Write the results to this file too.")


def require_flags(**needed: str) -> None:
    """Checks that flags are given, which name such things as workdir="a training run"."""
    if not all(flags.FLAGS[name].value for name in needed):
        listed = " and ".join(f"--{name}, {what}" for name, what in needed.items())
        raise UserError(f"needed: {listed}")


def read_thresholds(family: Family, default: Sequence[str] = ()) -> tuple[float | None, ...]:
    """Reads --thresholds for a family.

    Args:
        default: attributes of the knob with the values where the flag is not given, such as
            "everything"; those that the family shows if there are none.

    Returns:
        The values; one None, with which all units run, for a family without routing.
    """
    given = flags.FLAGS.thresholds
    if family.knob is None:
        _refuse_knob(family, given)
        return (None,)
    if given is None:
        return tuple(getattr(family.knob, name) for name in default) or family.knob.shown
    try:
        values = tuple(family.knob.check(float(text), "--thresholds") for text in given)
    except ValueError as error:
        raise UserError(f"--thresholds must be numbers, such as 0,0.5,1: {error}") from error
    if not values:
        raise UserError("--thresholds must be one or more numbers, such as 0,0.5,1")
    return values


def read_threshold(family: Family) -> float | None:
    """Reads --threshold, or the family's default; None for a family without routing."""
    given = flags.FLAGS.threshold
    if family.knob is None:
        _refuse_knob(family, given)
        return None
    return family.knob.default if given is None else family.knob.check(given, "--threshold")


def _refuse_knob(family: Family, given: Any) -> None:
    if given is not None:
        raise UserError(f"a model of the family {family.name} has no threshold: leave it out")


def check_json() -> None:
    """Checks, before any work, that the file of --json can be written."""
    if flags.FLAGS.json:
        check_writable(flags.FLAGS.json)


def write_json(values: Mapping[str, Any]) -> None:
    """Writes the results to the file of --json, if it is given."""
    if flags.FLAGS.json:
        write_text(flags.FLAGS.json, json.dumps(values, indent=2) + "\n")


def write_result(trained: Trained, values: Mapping[str, Any]) -> None:
    """Writes results to the file of --json, if it is given, and first of which model they are."""
    run, step = trained.run, trained.step
    of = {"family": run.family.name, "model": run.model, "dataset": run.dataset, "step": step}
    write_json({**of, **values})
