"""Writes a SavedModel for TF Serving."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from drnet_tf.data.decoding import fitted
from drnet_tf.data.fit import Fit
from export.graphs.graph import RoutedGraph
from export.graphs.plan import DENSE
from export.saved_model.runner import ENCODED, UINT8, WITH_THRESHOLD
from export.saved_model.tensorflow_files import file_errors
from export.tflite.runner import SIGNATURE


@dataclasses.dataclass(frozen=True)
class Serving:
    """Holds what a server needs beside the graph.

    Args:
        class_names: one for each class, in order.
        fit: how encoded images are brought to the model's size.
        default_threshold: T of the signatures that take none; None where nothing routes.
    """

    class_names: Sequence[str]
    fit: Fit
    default_threshold: float | None


def write_saved_model(graph: RoutedGraph, serving: Serving, path: pathlib.Path | str) -> None:
    """Writes a SavedModel that classifies batches.

    Its signatures and their inputs:
        serving_default: `image`, float32 [batch, image_size, image_size, 3] in 0..255.
        classify_uint8: the same in uint8.
        classify_encoded: `image_bytes`, string [batch], the content of JPEG, PNG, GIF (its first
            frame) or BMP files of any size, brought to the model's size as evaluation does.
        classify_with_threshold: `image` as in serving_default, and `threshold`, float32 [1] or
            [batch]: with one per row, TF Serving can join the requests of several clients to one
            batch. The others take the default threshold.

    The last is not there for a graph without routing. The outputs are those of the .tflite with the
    batch as their first axis, and `classes`, string [batch], the name of the most probable class.
    All units run; those that an image does not select have weight zero.
    """
    size = graph.config.image_size
    images = tf.TensorSpec([None, size, size, 3], tf.float32, name="image")

    inputs, default = [images], []
    if graph.routed:
        inputs.append(tf.TensorSpec([None], tf.float32, name="threshold"))
        default.append(np.array([serving.default_threshold], np.float32))

    # One function for all signatures: the file holds the weights once.
    @_graph(*inputs)
    def classify(image, threshold=None):
        outputs = graph.forward(image, threshold, DENSE)
        names = tf.constant(list(serving.class_names))
        return outputs | {"classes": tf.gather(names, tf.argmax(outputs["logits"], axis=1))}

    others = {WITH_THRESHOLD: classify.get_concrete_function()} if graph.routed else {}

    @_graph(images)
    def classify_floats(image):
        return classify(image, *default)

    @_graph(tf.TensorSpec([None, size, size, 3], tf.uint8, name="image"))
    def classify_uint8(image):
        return classify(tf.cast(image, tf.float32), *default)

    @_graph(tf.TensorSpec([None], tf.string, name="image_bytes"))
    def classify_encoded(image_bytes):
        return classify(_decode(image_bytes, size, serving.fit), *default)

    module = tf.Module()
    signatures = {
        SIGNATURE: classify_floats.get_concrete_function(),
        UINT8: classify_uint8.get_concrete_function(),
        ENCODED: classify_encoded.get_concrete_function(),
    } | others
    with file_errors(path):
        tf.saved_model.save(module, os.fspath(path), signatures=signatures)


def _graph(*inputs: tf.TensorSpec) -> Callable:
    return tf.function(autograph=False, input_signature=inputs)


def _decode(encoded: tf.Tensor, size: int, fit: Fit) -> tf.Tensor:
    """Decodes image files, string [batch], to float32 [batch, size, size, 3] in 0..255."""

    def decode_one(content):
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        return fitted(tf.ensure_shape(image, [None, None, 3]), size, fit)

    pixels = tf.map_fn(
        decode_one, encoded, fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8)
    )
    return tf.cast(pixels, tf.float32)
