"""The backend in use: what KERAS_BACKEND chose."""

from __future__ import annotations

import importlib
import types

import keras

from drnet_tf.errors import UserError

BACKENDS = ("tensorflow", "jax")


def backend_name() -> str:
    """Returns the name of the Keras backend in use, which must be one that all here runs on."""
    name = keras.backend.backend()
    if name not in BACKENDS:
        raise UserError(f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}, not {name}")
    return name


def backend_module() -> types.ModuleType:
    """Returns `drnet_tf.backends.tensorflow` or `.jax`; both have the same functions."""
    return importlib.import_module(f"drnet_tf.backends.{backend_name()}")
