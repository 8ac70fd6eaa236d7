"""Runs another program for what it prints."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Sequence

from drnet_tf.errors import UserError


def run_program(command: Sequence[str]) -> str:
    """Returns what a program writes to standard output.

    Raises:
        UserError: it is not there, or fails; the message holds the error that it wrote.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        # LiteRT logs more after the error.
        errors = [line for line in lines if line.startswith("error:")] or lines
        name = pathlib.Path(command[0]).name
        raise UserError(f"{name} ended with status {done.returncode}: {errors[-1]}")
    return done.stdout
