"""Loads a .tflite file and says what that took: run by footprint.py, in a fresh process.

    python -m export.benchmark.load_probe '{"file": "model.tflite", "images": "images.npy", ...}'

Only numpy and LiteRT are imported, beside the runner.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from export.tflite.child_answer import answer
from export.tflite.runner import TFLiteRunner


def peak_bytes() -> int:
    """Returns the most memory that this process has taken so far: its peak resident set."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status does not tell the peak of the resident set")


def probe(settings: dict[str, Any], _) -> dict[str, float]:
    """Loads a file and classifies images.

    Args:
        settings: `file`; `images`, an .npy file, float32 [images, height, width, 3]; `threshold`.

    Returns:
        `construct_ms` and `allocate_ms` of the interpreter, `first_ms` of the first invocation;
        `memory_bytes`, by how much the peak of the resident set grew.
    """
    images = np.load(settings["images"])
    before = peak_bytes()
    start = time.perf_counter()
    interpreter = Interpreter(model_path=settings["file"], num_threads=1)
    constructed = time.perf_counter()
    interpreter.allocate_tensors()
    allocated = time.perf_counter()
    runner = TFLiteRunner(interpreter)
    runner.set_threshold(settings["threshold"])
    seconds = []
    for image in images:
        runner.set_image(image)
        invoked = time.perf_counter()
        runner.invoke()
        seconds.append(time.perf_counter() - invoked)
    return {
        "construct_ms": 1e3 * (constructed - start),
        "allocate_ms": 1e3 * (allocated - constructed),
        "first_ms": 1e3 * seconds[0],
        "memory_bytes": peak_bytes() - before,
    }


if __name__ == "__main__":
    answer(probe)
