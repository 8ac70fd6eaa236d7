"""Runs a SavedModel through its signatures."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import tensorflow as tf

from export.graphs.graph import OUTPUTS
from export.tflite.runner import SIGNATURE, Outputs

WITH_THRESHOLD = "classify_with_threshold"
UINT8 = "classify_uint8"
ENCODED = "classify_encoded"
WITHOUT_THRESHOLD = (SIGNATURE, UINT8, ENCODED)
SIGNATURES = (*WITHOUT_THRESHOLD, WITH_THRESHOLD)


def signatures_of(routed: bool) -> tuple[str, ...]:
    """Returns the names of the signatures; of a model without routing none takes a threshold."""
    return SIGNATURES if routed else WITHOUT_THRESHOLD


class SavedModelRunner:
    """Runs the SavedModel in a folder, as TF Serving does: through its signatures."""

    def __init__(self, path: pathlib.Path | str):
        self._model = tf.saved_model.load(os.fspath(path))
        self.signatures = self._model.signatures

    def run(self, images: np.ndarray, threshold: float | np.ndarray | None = None) -> Outputs:
        """Classifies images [batch, image_size, image_size, 3] in 0..255.

        Args:
            threshold: one for all, or one for each; None for a model without routing.
        """
        if threshold is None:
            return self.run_default(SIGNATURE, images)
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
        """Calls a signature with inputs as `write_saved_model` describes them."""
        values = self.signatures[signature](**inputs)
        arrays = {name: values[name].numpy() for name in OUTPUTS if name in values}
        if "selected" in arrays:
            arrays["selected"] = arrays["selected"] > 0.5
        return Outputs(**arrays)
