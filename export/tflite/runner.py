"""Runs .tflite files with LiteRT.

It imports numpy and LiteRT only, so that small processes can use it.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from drnet_tf.errors import UserError

SIGNATURE = "serving_default"


@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """Holds what a model says of one image, or with a leading axis of several.

    Args:
        logits, probabilities: float32 [classes].
        selected: bool [*units]; None of a file without routing.
        flops: float32, multiply-accumulates; None of a file without routing.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    selected: Any = None
    flops: Any = None


class TFLiteRunner:
    """Runs a .tflite file of this package: routed, fixed, or of a model without routing.

    Args:
        model: path of the file, its content, or an interpreter of it.
        num_threads: of the interpreter that is made.

    Attributes:
        routed: whether it takes a threshold and says what it selected.
        image_shape: of its input `image`, [1, image_size, image_size, 3].

    Raises:
        UserError: the file is damaged, or another model.
    """

    def __init__(self, model: pathlib.Path | str | bytes | Interpreter, num_threads: int = 1):
        name = os.fspath(model) if isinstance(model, str | pathlib.Path) else "a converted model"
        try:
            self._interpreter = _interpreter(model, num_threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{name} is damaged, LiteRT cannot load it: {error}") from error
        try:
            signature = self._interpreter.get_signature_runner(SIGNATURE)
            # By name: the order of inputs and outputs is the converter's own.
            inputs, outputs = signature.get_input_details(), signature.get_output_details()
            self.image_shape = tuple(int(length) for length in inputs["image"]["shape"])
            self._inputs = {key: value["index"] for key, value in inputs.items()}
            self._outputs = {key: value["index"] for key, value in outputs.items()}
            self.routed = "selected" in outputs
            for key in ("logits", "probabilities", *(("flops",) if self.routed else ())):
                self._outputs[key]
        except (ValueError, KeyError) as error:
            raise UserError(f"{name} is no exported classifier: it lacks {error}") from error

    def set_image(self, image: np.ndarray) -> None:
        """Sets the next image, float [image_size, image_size, 3] in 0..255."""
        image = np.asarray(image, np.float32)[None]
        self._interpreter.set_tensor(self._inputs["image"], image)

    def set_threshold(self, threshold: float | None) -> None:
        """Sets the threshold of the next images, where the file takes one."""
        if "threshold" in self._inputs:
            if threshold is None:
                raise ValueError("the file takes a threshold")
            value = np.array([threshold], np.float32)
            self._interpreter.set_tensor(self._inputs["threshold"], value)

    def invoke(self) -> None:
        """Classifies the image that was set."""
        self._interpreter.invoke()

    def output(self, name: str) -> np.ndarray:
        """Returns an output of the last invocation, of the shape that it has in the file."""
        return self._interpreter.get_tensor(self._outputs[name])

    def run(self, image: np.ndarray, threshold: float | None = None) -> Outputs:
        """Classifies one image, float [image_size, image_size, 3] in 0..255."""
        self.set_image(image)
        self.set_threshold(threshold)
        self.invoke()
        outputs = Outputs(self.output("logits")[0], self.output("probabilities")[0])
        if not self.routed:
            return outputs
        return dataclasses.replace(
            outputs, selected=self.output("selected") > 0.5, flops=self.output("flops")[0]
        )

    def run_all(self, images: np.ndarray, threshold: float | None = None) -> Outputs:
        """Classifies every image of [images, image_size, image_size, 3]."""
        return joined([self.run(image, threshold) for image in images], np.stack)


def joined(parts: Sequence[Outputs], join: Callable[[Sequence[np.ndarray]], Any]) -> Outputs:
    """Joins the outputs of one model, such as by np.stack."""
    fields = zip(*(vars(part).values() for part in parts), strict=True)
    values: list[Any] = [None if arrays[0] is None else join(arrays) for arrays in fields]
    return Outputs(*values)


def _interpreter(model: pathlib.Path | str | bytes | Interpreter, num_threads: int) -> Interpreter:
    if isinstance(model, Interpreter):
        return model
    if isinstance(model, bytes):
        return Interpreter(model_content=model, num_threads=num_threads)
    return Interpreter(model_path=os.fspath(model), num_threads=num_threads)
