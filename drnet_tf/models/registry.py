"""The registered families, and their models by name, `<variant>.<task>`."""

from __future__ import annotations

import dataclasses
from typing import Any

from drnet_tf.errors import InputError
from drnet_tf.models.drnet.family import DRNetFamily
from drnet_tf.models.family import Family
from drnet_tf.models.plain.family import PlainFamily
from drnet_tf.models.tasks import TASKS

#: Every family by its name. Add one of your own before building a model.
FAMILIES: dict[str, Family] = {family.name: family for family in (DRNetFamily(), PlainFamily())}


def list_models() -> list[str]:
    """Lists the names that `build_model` knows."""
    return [
        f"{variant}.{task}"
        for family in FAMILIES.values()
        for variant, described in family.variants.items()
        for task in described.tasks
    ]


def find_family(name: str) -> Family:
    """Finds the family of a registered model by the model's name."""
    variant, _, task = name.partition(".")
    for family in FAMILIES.values():
        if variant in family.variants and task in family.variants[variant].tasks:
            return family
    raise InputError(f"unknown model {name!r}; known: {', '.join(list_models())}")


def family_of(config: Any) -> Family:
    """Finds the family whose configuration this is."""
    return next(family for family in FAMILIES.values() if isinstance(config, family.config))


def model_config(name: str, **overrides: Any) -> Any:
    """Returns the configuration of a registered model, with any of its fields replaced."""
    family = find_family(name)
    variant, task = name.split(".")
    known = {field.name for field in dataclasses.fields(family.config)}
    of_task = dataclasses.asdict(TASKS[task])
    fields = {field: value for field, value in of_task.items() if field in known}
    return family.config.from_dict(fields | dict(family.variants[variant].fields) | overrides)


def build_model(name: str, seed: int | None = None, dtype: Any = None, **overrides: Any) -> Any:
    """Builds a registered model, with any field of its configuration replaced.

    Args:
        name: one of `list_models()`.
        seed: of noise and drops in training; initial weights follow `keras.utils.set_random_seed`.
        dtype: a Keras dtype policy, such as "mixed_bfloat16".
        overrides: fields of the family's configuration, such as `DRNetConfig`.

    Raises:
        InputError: unknown name, or a field without meaning.
    """
    return build_from_config(model_config(name, **overrides), seed, dtype)


def build_from_config(config: Any, seed: int | None = None, dtype: Any = None) -> Any:
    """Builds the model of a configuration with all its variables created."""
    model = family_of(config).build(config, seed, dtype)
    model.build((None, config.image_size, config.image_size, 3))
    return model
