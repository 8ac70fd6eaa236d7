"""Functions of a model, compiled by JAX. `drnet_tf.backends.tensorflow` says what they return."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np


def make_deterministic() -> None:
    """Does nothing: XLA is so on a CPU; a GPU needs XLA_FLAGS=--xla_gpu_deterministic_ops=true."""


def compiled(function: Callable) -> Callable:
    """Compiles a pure function of arrays."""
    return jax.jit(function)


def compile_updates(model, variables: Sequence) -> Callable[..., list[np.ndarray]]:
    """Compiles what an evaluation would leave in some variables, none of which is trained."""
    places = {id(variable): i for i, variable in enumerate(model.non_trainable_variables)}
    indices = [places[id(variable)] for variable in variables]

    @jax.jit
    def forward(state, images, threshold):
        _, updated = model.stateless_call(*state, images, threshold=threshold, training=False)
        return [updated[index] for index in indices]

    def run(images, threshold):
        values = forward(_model_state(model), images, _as_array(threshold))
        return [np.asarray(value) for value in values]

    return run


def compile_forward(model) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Compiles the inference of a model."""

    @jax.jit
    def forward(state, images, threshold):
        (logits, routing), _ = model.stateless_call(
            *state, images, threshold=threshold, training=False
        )
        return logits, routing.selected

    def run(images, threshold):
        logits, selected = forward(_model_state(model), images, _as_array(threshold))
        return np.asarray(logits), np.asarray(selected)

    return run


def _as_array(threshold: float | None) -> np.float32 | None:
    return None if threshold is None else np.float32(threshold)


def _model_state(model) -> tuple[list, list]:
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )
