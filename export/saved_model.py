"""Writing a SavedModel for TF Serving, and running it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from drnet_tf.data.decoding import centre
from export.routed_graph import OUTPUTS, forward
from export.structure import DENSE
from export.tensorflow_files import file_errors
from export.tflite import SIGNATURE, Outputs
from export.weights import Network

WITH_THRESHOLD = "classify_with_threshold"
UINT8 = "classify_uint8"
ENCODED = "classify_encoded"
WITHOUT_THRESHOLD = (SIGNATURE, UINT8, ENCODED)
SIGNATURES = (*WITHOUT_THRESHOLD, WITH_THRESHOLD)


@dataclasses.dataclass(frozen=True)
class Serving:
    """What a server needs beside the network.

    Args:
        class_names: one for each class, in order.
        default_threshold: T of the signatures that take none.
        whole: whether encoded images are resized whole, as `drnet_tf.data.decoding.centre` says.
    """

    class_names: Sequence[str]
    default_threshold: float = 0.8
    whole: bool = True


def write_saved_model(network: Network, serving: Serving, path: pathlib.Path | str) -> None:
    """Writes a SavedModel that classifies batches.

    Its signatures and their inputs:
        serving_default: `image`, float32 [batch, image_size, image_size, 3] in 0..255.
        classify_uint8: the same in uint8.
        classify_encoded: `image_bytes`, string [batch], the content of JPEG, PNG, GIF (its first
            frame) or BMP files of any size, brought to the model's size as evaluation does.
        classify_with_threshold: `image` as in serving_default, and `threshold`, float32 [1] or
            [batch]: with one a row, TF Serving can join the requests of several clients to one
            batch. The others take the default threshold.

    The outputs are those of the .tflite with the batch as their first axis, and `classes`, string
    [batch], the name of the most probable class. All branches run; those that an image does not
    select have weight zero.
    """
    size = network.config.image_size
    images = tf.TensorSpec([None, size, size, 3], tf.float32, name="image")
    default = np.array([serving.default_threshold], np.float32)

    # One function for all signatures: the file holds the weights once.
    @_graph(images, tf.TensorSpec([None], tf.float32, name="threshold"))
    def classify(image, threshold):
        outputs = forward(network, DENSE, image, threshold)
        names = tf.constant(list(serving.class_names))
        return outputs | {"classes": tf.gather(names, tf.argmax(outputs["logits"], axis=1))}

    @_graph(images)
    def classify_floats(image):
        return classify(image, default)

    @_graph(tf.TensorSpec([None, size, size, 3], tf.uint8, name="image"))
    def classify_uint8(image):
        return classify(tf.cast(image, tf.float32), default)

    @_graph(tf.TensorSpec([None], tf.string, name="image_bytes"))
    def classify_encoded(image_bytes):
        return classify(_decode(image_bytes, size, serving.whole), default)

    module = tf.Module()
    signatures = {
        SIGNATURE: classify_floats.get_concrete_function(),
        WITH_THRESHOLD: classify.get_concrete_function(),
        UINT8: classify_uint8.get_concrete_function(),
        ENCODED: classify_encoded.get_concrete_function(),
    }
    with file_errors(path):
        tf.saved_model.save(module, os.fspath(path), signatures=signatures)


def _graph(*inputs: tf.TensorSpec) -> Callable:
    return tf.function(autograph=False, input_signature=inputs)


def _decode(encoded: tf.Tensor, size: int, whole: bool) -> tf.Tensor:
    """Contents of image files, string [batch], to float32 [batch, size, size, 3] in 0..255."""

    def decode_one(content):
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        return centre(tf.ensure_shape(image, [None, None, 3]), size, whole=whole)

    pixels = tf.map_fn(
        decode_one, encoded, fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8)
    )
    return tf.cast(pixels, tf.float32)


class SavedModelRunner:
    """Runs the SavedModel in a folder, as TF Serving does: through its signatures."""

    def __init__(self, path: pathlib.Path | str):
        self._model = tf.saved_model.load(os.fspath(path))
        self.signatures = self._model.signatures

    def run(self, images: np.ndarray, threshold: float | np.ndarray) -> Outputs:
        """Classifies images [batch, image_size, image_size, 3] in 0..255.

        Args:
            threshold: one for all, or one for each.
        """
        return self.call(
            WITH_THRESHOLD,
            image=tf.constant(images, tf.float32),
            threshold=tf.constant(np.reshape(threshold, [-1]), tf.float32),
        )

    def run_default(self, signature: str, images: np.ndarray) -> Outputs:
        """Classifies images at the default threshold.

        Args:
            signature: serving_default, classify_uint8 or classify_encoded.
            images: [batch, image_size, image_size, 3], whole numbers 0..255; the last signature
                gets them as PNG.
        """
        if signature == ENCODED:
            files = [tf.io.encode_png(tf.constant(image, tf.uint8)) for image in images]
            return self.call(signature, image_bytes=tf.stack(files))
        dtype = tf.uint8 if signature == UINT8 else tf.float32
        return self.call(signature, image=tf.constant(images, dtype))

    def call(self, signature: str, **inputs: tf.Tensor) -> Outputs:
        """The outputs of a signature for inputs as `write_saved_model` describes them."""
        values = self.signatures[signature](**inputs)
        arrays = {k: values[k].numpy() for k in OUTPUTS}
        return Outputs(
            arrays["logits"], arrays["probabilities"], arrays["selected"] > 0.5, arrays["flops"]
        )
