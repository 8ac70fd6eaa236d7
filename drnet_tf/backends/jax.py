"""A model and its functions, compiled by JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np

from drnet_tf.models import DRNet


def make_deterministic() -> None:
    """XLA on a CPU does so anyway; a GPU needs XLA_FLAGS=--xla_gpu_deterministic_ops=true."""


def compiled(function: Callable) -> Callable:
    """A pure function of arrays, compiled."""
    return jax.jit(function)


def compile_updates(model: DRNet, variables: Sequence) -> Callable[..., list[np.ndarray]]:
    """A compiled function of images [batch, ...] and a threshold.

    Returns:
        A function that gives what an evaluation of the model would leave in some of its variables
        that are not trained.
    """
    indices = [_index(model.non_trainable_variables, variable) for variable in variables]

    @jax.jit
    def forward(state, images, threshold):
        _, updated = model.stateless_call(*state, images, threshold=threshold, training=False)
        return [updated[index] for index in indices]

    def run(images, threshold):
        values = forward(_model_state(model), images, np.float32(threshold))
        return [np.asarray(value) for value in values]

    return run


def compile_forward(model: DRNet) -> Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]:
    """A compiled function of images [batch, ...] and a threshold.

    Returns:
        A function that gives logits [batch, classes] and selected [batch, cells, connections,
        branches] as NumPy arrays. Batches of one size compile once.
    """

    @jax.jit
    def forward(state, images, threshold):
        (logits, intermediates), _ = model.stateless_call(
            *state, images, threshold=threshold, training=False
        )
        return logits, intermediates["selected"]

    def run(images, threshold):
        logits, selected = forward(_model_state(model), images, np.float32(threshold))
        return np.asarray(logits), np.asarray(selected)

    return run


def _model_state(model: DRNet) -> tuple[list, list]:
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )


def _index(variables, wanted) -> int:
    return next(i for i, variable in enumerate(variables) if variable is wanted)
