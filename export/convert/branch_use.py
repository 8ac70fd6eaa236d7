"""Finds which branches images select: what plans and fixed files are made from."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from drnet_tf.data.evaluation_images import EvaluationImages, first_images
from drnet_tf.models.family import RoutedModel

BATCH = 32


def counting_images(dataset: EvaluationImages, count: int) -> tuple[np.ndarray, str]:
    """Reads images to count branches on, which are no test images, and says of which split.

    They are validation images, or where a model was trained on these, training images.
    """
    split = "validation" if dataset.has("validation") else "train"
    return first_images(dataset, split, count), split


def select_all(
    model: RoutedModel, images: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the selected branches, bool, and the recalibrated weights of images.

    Returns:
        Two arrays [images, cells, connections, branches].
    """
    size = model.config.image_size

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32)]
    )
    def route(batch):
        routing = model(batch, threshold=threshold)[1]
        return routing.selected, routing.own["recalibrated"]

    batches = [route(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    selected, recalibrated = zip(*batches, strict=True)
    return np.concatenate(selected), np.concatenate(recalibrated)
