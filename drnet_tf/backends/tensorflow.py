"""Functions of a model, compiled by TensorFlow. `drnet_tf.backends.jax` has the same functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf


def make_deterministic() -> None:
    """Makes every operation give the same bits each time, at some cost of speed."""
    # The layers of keras-cv ask for this generator when they are made, and draw nothing from it. To
    # make it is refused after the next line.
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    tf.config.experimental.enable_op_determinism()


def compiled(function: Callable) -> Callable:
    """Compiles a pure function of tensors."""
    return tf.function(function, autograph=False)


def compile_updates(model, variables: Sequence) -> Callable[..., list[np.ndarray]]:
    """Compiles what an evaluation of a model leaves in some of its variables.

    Returns:
        A function of images [batch, ...] and a threshold, which gives their values. Here they are
        in the variables themselves too; on JAX they are not.
    """

    @functools.partial(tf.function, autograph=False)
    def forward(images, threshold):
        model(images, threshold=threshold, training=False)
        return [tf.convert_to_tensor(variable.value) for variable in variables]

    def run(images, threshold):
        values = forward(tf.convert_to_tensor(images), _as_tensor(threshold))
        return [value.numpy() for value in values]

    return run


def compile_forward(model) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Compiles the inference of a model.

    Returns:
        A function of images [batch, ...] and a threshold, None for all units, which gives logits
        [batch, classes] and the selected units [batch, *units] as NumPy arrays. Batches of one size
        compile once.
    """

    @functools.partial(tf.function, autograph=False)
    def forward(images, threshold):
        logits, routing = model(images, threshold=threshold, training=False)
        return logits, routing.selected

    def run(images, threshold):
        logits, selected = forward(tf.constant(images), _as_tensor(threshold))
        return logits.numpy(), selected.numpy()

    return run


def _as_tensor(threshold: float | None) -> tf.Tensor | None:
    return None if threshold is None else tf.constant(threshold, tf.float32)
