"""Runs .tflite files in the arm64 root: classify_on_arm.py INPUTS OUTPUTS MODEL...

INPUTS is an .npz file with `images`, float32 [images, height, width, 3], and `thresholds`,
float32 [thresholds]. OUTPUTS will be one with the outputs of the models: `0/logits` is that of the
first, [thresholds, images, classes]. Nothing of this project is there to import.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def classify(model: str, images: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    runner = Interpreter(model_path=model, num_threads=1).get_signature_runner("serving_default")
    results = [
        [runner(image=image[None], threshold=threshold[None]) for image in images]
        for threshold in thresholds
    ]
    names = results[0][0].keys()
    return {name: np.array([[result[name] for result in row] for row in results]) for name in names}


def main(inputs: str, outputs: str, *models: str) -> None:
    given = np.load(inputs)
    found = {
        f"{number}/{name}": values
        for number, model in enumerate(models)
        for name, values in classify(model, given["images"], given["thresholds"]).items()
    }
    np.savez(outputs, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
