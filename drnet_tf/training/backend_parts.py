"""The parts of training that each backend has its own of: `on_tensorflow/` and `on_jax/`."""

from __future__ import annotations

import importlib
import types

from drnet_tf.backends.choice import backend_name


def step_module() -> types.ModuleType:
    """Returns the module with `TrainingStep`."""
    return _module("step")


def placement_module() -> types.ModuleType:
    """Returns the module with `place`."""
    return _module("placement")


def _module(part: str) -> types.ModuleType:
    return importlib.import_module(f"drnet_tf.training.on_{backend_name()}.{part}")
