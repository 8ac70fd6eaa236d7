"""Flags and checks that commands share."""

from __future__ import annotations

import math

from drnet_tf.errors import UserError


def parse_thresholds(values: list[str]) -> list[float]:
    """Numbers of a comma-separated flag."""
    try:
        thresholds = [float(value) for value in values]
    except ValueError as error:
        raise UserError(f"--thresholds must be numbers, such as 0,0.5,1: {error}") from error
    if not thresholds or not all(math.isfinite(value) for value in thresholds):
        raise UserError("--thresholds must be one or more finite numbers, such as 0,0.5,1")
    return thresholds
