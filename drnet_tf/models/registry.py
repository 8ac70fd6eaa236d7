"""The registered models by name, `<variant>.<task>`."""

from __future__ import annotations

import dataclasses
from typing import Any

from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.network import DRNet
from drnet_tf.models.drnet.variants import ARCHITECTURES, MODELS
from drnet_tf.models.tasks import TASKS


def list_models() -> list[str]:
    """Names that `build_model` knows."""
    return list(MODELS)


def model_config(name: str, **overrides: Any) -> DRNetConfig:
    """The configuration of a registered model, with any of its fields replaced.

    Raises:
        ValueError: unknown name, or a field without meaning.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    architecture, task = name.split(".")
    fields = {
        **ARCHITECTURES[architecture],
        **dataclasses.asdict(TASKS[task]),
        **overrides,
    }
    return DRNetConfig.from_dict(fields)


def build_model(name: str, seed: int | None = None, dtype=None, **overrides: Any) -> DRNet:
    """Builds a registered model, with any field of its `DRNetConfig` replaced.

    Args:
        name: one of `list_models()`.
        seed: of noise and drops in training; initial weights follow `keras.utils.set_random_seed`.
        dtype: a Keras dtype policy, such as "mixed_bfloat16".
        overrides: fields of `DRNetConfig`.

    Raises:
        ValueError: unknown name, or a field without meaning.
    """
    return build_from_config(model_config(name, **overrides), seed, dtype)


def build_from_config(config: DRNetConfig, seed: int | None = None, dtype=None) -> DRNet:
    """Builds a DRNet with all its weights created."""
    model = DRNet(config, seed, name="drnet", dtype=dtype)
    model.build((None, config.image_size, config.image_size, 3))
    return model
