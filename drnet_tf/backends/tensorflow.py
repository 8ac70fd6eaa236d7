"""A model and its functions, compiled by TensorFlow."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from drnet_tf.models import DRNet


def make_deterministic() -> None:
    """Makes every operation give the same bits each time, at some cost of speed."""
    # The layers of keras-cv ask for this generator when they are made, and draw nothing from it. To
    # make it is refused after the next line.
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    tf.config.experimental.enable_op_determinism()


def compiled(function: Callable) -> Callable:
    """A pure function of tensors, compiled."""
    return tf.function(function, autograph=False)


def compile_updates(model: DRNet, variables: Sequence) -> Callable[..., list[np.ndarray]]:
    """A compiled function of images [batch, ...] and a threshold.

    Returns:
        A function that gives what an evaluation of the model leaves in some of its variables. Here
        it is in the variables themselves too; on JAX it is not.
    """

    @functools.partial(tf.function, autograph=False)
    def forward(images, threshold):
        model(images, threshold=threshold, training=False)
        return [tf.convert_to_tensor(variable.value) for variable in variables]

    def run(images, threshold):
        values = forward(tf.convert_to_tensor(images), tf.constant(threshold, tf.float32))
        return [value.numpy() for value in values]

    return run


def compile_forward(model: DRNet) -> Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]:
    """A compiled function of images [batch, ...] and a threshold.

    Returns:
        A function that gives logits [batch, classes] and selected [batch, cells, connections,
        branches] as NumPy arrays. Batches of one size compile once.
    """

    @functools.partial(tf.function, autograph=False)
    def forward(images, threshold):
        logits, intermediates = model(images, threshold=threshold, training=False)
        return logits, intermediates["selected"]

    def run(images, threshold):
        logits, selected = forward(tf.constant(images), tf.constant(threshold, tf.float32))
        return logits.numpy(), selected.numpy()

    return run
