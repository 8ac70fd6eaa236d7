"""Conversion to .tflite, and running what came out."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from drnet_tf.errors import UserError
from export.routed_graph import INPUTS, OUTPUTS, forward
from export.structure import Structure
from export.vector_lanes import fill_vector_lanes
from export.weights import Network

SIGNATURE = "serving_default"


def to_tflite(network: Network, structure: Structure, float16: bool = False) -> bytes:
    """A .tflite file that classifies one image.

    Args:
        float16: whether to store weights as float16. They are computed with as float32.

    Its signature `serving_default` has the inputs `image`, float32 [1, image_size, image_size, 3]
    in 0..255, and `threshold`, float32 [1]; and the outputs `logits` and `probabilities`, float32
    [1, classes]; `selected`, float32 0 or 1 [cells, connections, branches]; `flops`, float32 [1].
    No tensor of it has rank 0, which some runtimes cannot handle, and `selected` is no bool, which
    some cannot read. Of a fixed structure there are `image`, `logits` and `probabilities` only.
    """
    network = fill_vector_lanes(network)
    size = network.config.image_size
    image_spec = tf.TensorSpec([1, size, size, 3], tf.float32, name="image")
    threshold_spec = tf.TensorSpec([1], tf.float32, name="threshold")
    signature = [image_spec] if structure.fixed else [image_spec, threshold_spec]

    @tf.function(autograph=False, input_signature=signature)
    def classify(image, threshold=None):
        outputs = forward(network, structure, image, threshold)
        if "selected" in outputs:
            outputs["selected"] = outputs["selected"][0]
        return outputs

    # The signature keeps its names only if an object holds the function; the concrete one, since
    # the other would be traced once more.
    module = tf.Module()
    module.classify = classify.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.classify], module)
    if float16:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


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
