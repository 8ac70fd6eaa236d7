"""The module that steps on the Keras backend in use."""

from __future__ import annotations

import importlib
import types

import keras

from drnet_tf.errors import UserError

STEP_MODULES = {"tensorflow": "tensorflow_step", "jax": "jax_step"}


def step_module() -> types.ModuleType:
    """`tensorflow_step` or `jax_step`, by KERAS_BACKEND; both have the same functions.

    Raises:
        UserError: Keras runs on another backend.
    """
    name = keras.backend.backend()
    if name not in STEP_MODULES:
        raise UserError(f"KERAS_BACKEND must be one of {', '.join(STEP_MODULES)}, not {name}")
    return importlib.import_module(f"drnet_tf.training.{STEP_MODULES[name]}")
