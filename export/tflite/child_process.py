"""Runs work on a .tflite file in a process of its own, which alone ends where LiteRT crashes.

The process is `python -m MODULE SETTINGS`, both ends of which speak JSON. It prints objects, one
per line: {"done": 1, "total": 2} on the way, and {"result": ...} or {"error": "text"} at the end;
see child_answer.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from drnet_tf.errors import UserError
from drnet_tf.progress import Progress, silent


def run_child(module: str, settings: dict[str, Any], progress: Progress = silent) -> Any:
    """Runs a module of this package on a file.

    Args:
        settings: for the module; `file` is the path of the file.
        progress: called with what the process says is done, of how much, and the file's name.

    Returns:
        The result.

    Raises:
        UserError: the process found an error, or ended before it was done.
    """
    name = os.path.basename(settings["file"])
    command = [sys.executable, "-m", module, json.dumps(settings)]
    done, last = 0, {}
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        with subprocess.Popen(
            command, env=child_environment(), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    last = json.loads(line)
                    if "done" in last:
                        done = last["done"]
                        progress(done, last["total"], name)
            except BaseException:
                process.kill()
                raise
        if "error" in last:
            raise UserError(f"{name}: {last['error']}")
        if process.returncode or "result" not in last:
            errors.seek(0)
            after = f" after {done} runs or a few more" if done else ""
            reason = _reason(process.returncode, errors.read().splitlines())
            raise UserError(f"{name} ended the process that read it{after}: {reason}")
    return last["result"]


def child_environment() -> dict[str, str]:
    """Returns this process's environment, with which a child finds the same modules."""
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    return os.environ | {"PYTHONPATH": path}


def _reason(status: int, errors: Sequence[str]) -> str:
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return errors[-1] if errors else f"exit status {status}"
