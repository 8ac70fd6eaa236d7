"""The modules that step, and find devices, on the Keras backend in use."""

from __future__ import annotations

import importlib
import types

import keras

from drnet_tf.errors import UserError

BACKENDS = ("tensorflow", "jax")


def step_module() -> types.ModuleType:
    """`on_tensorflow.step` or `on_jax.step`, by KERAS_BACKEND; both have the same functions.

    Raises:
        UserError: Keras runs on another backend.
    """
    return _module("step")


def placement_module() -> types.ModuleType:
    """`on_tensorflow.placement` or `on_jax.placement`, by KERAS_BACKEND.

    Raises:
        UserError: Keras runs on another backend.
    """
    return _module("placement")


def _module(part: str) -> types.ModuleType:
    name = keras.backend.backend()
    if name not in BACKENDS:
        raise UserError(f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}, not {name}")
    return importlib.import_module(f"drnet_tf.training.on_{name}.{part}")
