"""Conversion to .tflite, and running what came out."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from drnet_tf.errors import UserError
from export.graphs.graph import INPUTS, OUTPUTS


class StaticRunner:
    """Runs a static .tflite file with LiteRT on one thread."""

    def __init__(self, path: pathlib.Path | str):
        self._interpreter = Interpreter(model_path=os.fspath(path), num_threads=1)
        self._interpreter.allocate_tensors()
        signature = self._interpreter.get_signature_runner(SIGNATURE)
        self._image = signature.get_input_details()["image"]["index"]
        self._probabilities = signature.get_output_details()["probabilities"]["index"]

    def run(self, image: np.ndarray) -> np.ndarray:
        """Probabilities [classes] of an image, float [image_size, image_size, 3] in 0..255."""
        self._interpreter.set_tensor(self._image, np.asarray(image, np.float32)[None])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._probabilities)[0]


SIGNATURE = "serving_default"


@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """What a model says of one image, or with a leading axis of several.

    Args:
        logits, probabilities: float32 [classes].
        selected: bool [cells, connections, branches].
        flops: float32, multiply-accumulates.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    selected: np.ndarray
    flops: np.ndarray


def _open(path: str, num_threads: int) -> Interpreter:
    try:
        interpreter = Interpreter(model_path=path, num_threads=num_threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} is damaged, LiteRT cannot load it: {error}") from error
    return interpreter


class TFLiteRunner:
    """Runs a .tflite model of this package with LiteRT.

    Args:
        model: path of the file, its content, or an interpreter of it.
        num_threads: of the interpreter that is made.

    Raises:
        UserError: the file is damaged, or another model.
    """

    def __init__(self, model: pathlib.Path | str | bytes | Interpreter, num_threads: int = 1):
        if isinstance(model, Interpreter):
            self._interpreter = model
        elif isinstance(model, bytes):
            self._interpreter = Interpreter(model_content=model, num_threads=num_threads)
        else:
            self._interpreter = _open(os.fspath(model), num_threads)
        self._interpreter.allocate_tensors()
        try:
            signature = self._interpreter.get_signature_runner(SIGNATURE)
            # By name: the order of inputs and outputs is the converter's own.
            inputs, outputs = signature.get_input_details(), signature.get_output_details()
            self._inputs = {name: inputs[name]["index"] for name in INPUTS}
            self._outputs = {name: outputs[name]["index"] for name in OUTPUTS}
        except (ValueError, KeyError) as error:
            name = "a converted model" if isinstance(model, bytes) else model
            raise UserError(f"{name} is no model with routing: it lacks {error}") from error

    def set_image(self, image: np.ndarray) -> None:
        """Sets the next image, float [image_size, image_size, 3] in 0..255."""
        image = np.asarray(image, np.float32)[None]
        self._interpreter.set_tensor(self._inputs["image"], image)

    def set_threshold(self, threshold: float) -> None:
        self._interpreter.set_tensor(self._inputs["threshold"], np.array([threshold], np.float32))

    def invoke(self) -> None:
        """Classifies the image that was set."""
        self._interpreter.invoke()

    def run(self, image: np.ndarray, threshold: float) -> Outputs:
        """Classifies one image, float [image_size, image_size, 3] in 0..255."""
        self.set_image(image)
        self.set_threshold(threshold)
        self.invoke()
        values = {k: self._interpreter.get_tensor(self._outputs[k]) for k in OUTPUTS}
        return Outputs(
            values["logits"][0],
            values["probabilities"][0],
            values["selected"] > 0.5,
            values["flops"][0],
        )

    def run_all(self, images: np.ndarray, threshold: float) -> Outputs:
        """The same of every image of [images, image_size, image_size, 3]."""
        results = [self.run(image, threshold) for image in images]
        return Outputs(
            *(
                np.stack([getattr(result, field.name) for result in results])
                for field in dataclasses.fields(Outputs)
            )
        )
