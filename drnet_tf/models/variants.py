"""The registered models: architectures times tasks, named `<architecture>.<task>`."""

from __future__ import annotations

import dataclasses
from typing import Any

from drnet_tf.architecture import DRNetConfig
from drnet_tf.models.drnet import DRNet


@dataclasses.dataclass(frozen=True)
class Task:
    """What a data set asks of a model; mean and deviation of the channels are on 0..255."""

    image_size: int
    classes: int
    stem: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


_GREY = (127.5, 127.5, 127.5)

ARCHITECTURES = {
    # Few and wide: on 16 pixels a narrow branch costs little more than the IF around it.
    "drnet_xs": dict(cells=3, channels=24, nodes=2),
    "drnet_s": dict(cells=5, channels=15),
    "drnet_m": dict(cells=10, channels=20),
    "drnet_l": dict(cells=10, channels=32),
}

TASKS = {
    "digits": Task(16, 10, "cifar", _GREY, _GREY),
    "cifar10": Task(32, 10, "cifar", (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": Task(32, 100, "cifar", (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    "imagenet": Task(224, 1000, "imagenet", (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)),
}

MODELS = (
    "drnet_xs.digits",
    "drnet_s.cifar10",
    "drnet_m.cifar10",
    "drnet_l.cifar10",
    "drnet_s.cifar100",
    "drnet_m.cifar100",
    "drnet_l.cifar100",
    "drnet_l.imagenet",
)


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
