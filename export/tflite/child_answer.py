"""The child's side of export/tflite/child_process.py.

It imports nothing that takes memory: some children measure their own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

_SECONDS_BETWEEN_REPORTS = 0.2


def answer(work: Callable[[dict[str, Any], Callable[[int, int], None]], Any]) -> None:
    """Does what the parent asks for, and prints what comes of it.

    Args:
        work: called with the settings, and what to report to: steps done, their number. Returns
            the result, in the types that JSON has; a ValueError says what is wrong with the file.
    """
    printed = 0.0

    def report(done: int, total: int) -> None:
        nonlocal printed
        if (now := time.monotonic()) - printed > _SECONDS_BETWEEN_REPORTS:
            _print({"done": done, "total": total})
            printed = now

    try:
        _print({"result": work(json.loads(sys.argv[1]), report)})
    except ValueError as error:
        _print({"error": str(error)})


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)
