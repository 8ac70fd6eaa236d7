"""Loads a .tflite file and says what that took: run by footprint.py, in a fresh process.

    load_probe.py MODEL IMAGES [THRESHOLD]

IMAGES is an .npy file, float32 [images, height, width, 3]. Only numpy and LiteRT are imported, and
nothing of this project. The result is a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def peak_bytes() -> int:
    """Returns the most memory that this process has taken so far: the peak of its resident set."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status does not tell the peak of the resident set")


def input_indices(interpreter: Interpreter) -> dict[str, int]:
    """Tells which tensors the inputs are."""
    # Apart: while these details are held, nothing can be invoked.
    details = interpreter.get_signature_runner("serving_default").get_input_details()
    return {name: value["index"] for name, value in details.items()}


def main(model: str, images_file: str, threshold: str = "nan") -> None:
    images = np.load(images_file)
    before = peak_bytes()
    start = time.perf_counter()
    interpreter = Interpreter(model_path=model, num_threads=1)
    constructed = time.perf_counter()
    interpreter.allocate_tensors()
    allocated = time.perf_counter()
    inputs = input_indices(interpreter)
    if "threshold" in inputs:
        interpreter.set_tensor(inputs["threshold"], np.array([threshold], np.float32))
    seconds = []
    for image in images:
        interpreter.set_tensor(inputs["image"], image[None])
        invoked = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - invoked)
    result = {
        "construct_ms": 1e3 * (constructed - start),
        "allocate_ms": 1e3 * (allocated - constructed),
        "first_ms": 1e3 * seconds[0],
        "memory_bytes": peak_bytes() - before,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
