"""The parts of training that each backend has its own of: `on_tensorflow/` and `on_jax/`."""

from __future__ import annotations

import importlib
import types

from drnet_tf.backends.choice import backend_name


def backend_part(name: str) -> types.ModuleType:
    """Returns the module "step", with `TrainingStep`, or "placement", with `place`."""
    return importlib.import_module(f"drnet_tf.training.on_{backend_name()}.{name}")
