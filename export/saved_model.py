"""Writing a SavedModel for TF Serving, and running it."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import tensorflow as tf

from export.routed_graph import OUTPUTS, forward
from export.structure import DENSE
from export.tflite import SIGNATURE, Outputs
from export.weights import Network


def write_saved_model(network: Network, path: pathlib.Path | str) -> None:
    """Writes a SavedModel that classifies batches.

    Its signature `serving_default` has the inputs `image`, float32 [batch, image_size,
    image_size, 3] in 0..255, and `threshold`, float32 [1] or [batch]: with one a row, TF Serving
    can join the requests of several clients to one batch. The outputs are those of the .tflite
    with the batch as their first axis. All branches run; those that an image does not select
    have weight zero.
    """
    size = network.config.image_size

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, size, size, 3], tf.float32, name="image"),
            tf.TensorSpec([None], tf.float32, name="threshold"),
        ],
    )
    def classify(image, threshold):
        return forward(network, DENSE, image, threshold)

    module = tf.Module()
    module.classify = classify.get_concrete_function()
    tf.saved_model.save(module, os.fspath(path), signatures={SIGNATURE: module.classify})


class SavedModelRunner:
    """Runs the SavedModel in a folder, as TF Serving does: through its signature."""

    def __init__(self, path: pathlib.Path | str):
        self._model = tf.saved_model.load(os.fspath(path))
        self._classify = self._model.signatures[SIGNATURE]

    def run(self, images: np.ndarray, threshold: float | np.ndarray) -> Outputs:
        """Classifies images [batch, image_size, image_size, 3] in 0..255.

        Args:
            threshold: one for all, or one for each.
        """
        values = self._classify(
            image=tf.constant(images, tf.float32),
            threshold=tf.constant(np.reshape(threshold, [-1]), tf.float32),
        )
        arrays = {k: values[k].numpy() for k in OUTPUTS}
        return Outputs(
            arrays["logits"], arrays["probabilities"], arrays["selected"] > 0.5, arrays["flops"]
        )
