"""The flags of a training run: one for each field of its recipe, augmentation and settings.

They are defined by functions, not on import, so that commands can use each other's functions.
"""

from __future__ import annotations

import dataclasses
import shlex
import typing
from typing import Any

from absl import flags

from drnet_tf.data.augmentation import AUTOAUGMENT_POLICIES, Augmentation
from drnet_tf.errors import UserError
from drnet_tf.layers.gumbel_softmax import RECALIBRATIONS
from drnet_tf.models import list_models, model_config
from drnet_tf.models.drnet.architecture import ROUTERS, STEMS, DRNetConfig
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.drnet.recipes import RECIPES
from drnet_tf.models.objective import RESOURCES
from drnet_tf.models.schedules import LEARNING_RATES
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.workdir import Run
from drnet_tf.training.feeds import PIPELINES
from drnet_tf.training.placement import DISTRIBUTIONS

NONE = "none"  # so that a command can take back what its flagfile or recipe says
#: What each flag of a recipe or an augmentation says in --help is in the docstring of its class.
_CHOICES = {
    "learning_rate_schedule": LEARNING_RATES,
    "autoaugment": (NONE, *AUTOAUGMENT_POLICIES),
    "recalibration": RECALIBRATIONS,
    "router": ROUTERS,
    "stem": STEMS,
    "resource": RESOURCES,
    "input_pipeline": PIPELINES,
    "distribution": DISTRIBUTIONS,
}

#: What stands for a place on a machine in the command of a run.
_PLACES = {"data_dir": "DIR", "latency_table": "FILE", "initial_weights": "OTHER_RUN"}
_NOT_FLAGS = ("fill",)  # always the mean of the model's data

_ARCHITECTURE_FLAGS = {
    "recalibration": str,
    "router": str,
    "stem": str,
    "image_size": int,
    "classes": int,
    "cells": int,
    "channels": int,
    "nodes": int,
    "connection_seed": int,
}


def define_flags() -> None:
    """Defines all flags of a training run."""
    flags.DEFINE_string("workdir", None, "Folder of the run; a run in it goes on.")
    flags.DEFINE_string("dataset", None, "Name of the data set, such as cifar10.")
    flags.DEFINE_enum("recipe", "paper", RECIPES, "What flags of the recipe are where not given.")
    flags.DEFINE_float("epochs", None, "Length of the run; both stages keep their shares of it.")
    _define_flags(Recipe, "Recipe")
    _define_flags(Augmentation, "Augmentation")
    _define_flags(Settings, "Run")
    define_model_flags()


def define_model_flags() -> None:
    """Defines the flags of a model and its architecture."""
    flags.DEFINE_string("model", None, f"One of {', '.join(list_models())}.")
    flags.DEFINE_list("branches", None, "Names of the branches, instead of the model's.")
    text = "Architecture, instead of the model's; see drnet_tf.architecture.DRNetConfig."
    for name, kind in _ARCHITECTURE_FLAGS.items():
        _define_flag(name, kind, None, text)


def _define_flags(description: type, group: str) -> None:
    """One flag for each field of a dataclass, of its type and with its default."""
    kinds = typing.get_type_hints(description)
    text = f"{group}; see {description.__module__}.{description.__name__}."
    for field in dataclasses.fields(description):
        if field.name not in _NOT_FLAGS:
            _define_flag(field.name, kinds[field.name], field.default, text)


class _OptionalFloat(flags.FloatParser):
    """A number, or the word by which a command takes back what its flagfile or recipe says."""

    def parse(self, argument):
        return None if argument in (None, NONE) else super().parse(argument)


def _define_flag(name: str, kind: type, default: Any, text: str) -> None:
    if name in _CHOICES:
        flags.DEFINE_enum(name, default, _CHOICES[name], text)
        return
    if kind == float | None:
        flags.DEFINE(_OptionalFloat(), name, default, text)
        return
    define = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
    }.get(kind, flags.DEFINE_string)
    define(name, default, text)


def read_flags(description: type, **further: Any) -> Any:
    """An instance of a dataclass from its flags."""
    names = [field.name for field in dataclasses.fields(description)]
    values = {name: flags.FLAGS[name].value for name in names if name not in _NOT_FLAGS}
    if values.get("autoaugment") == NONE:
        values["autoaugment"] = None
    try:
        return description(**values, **further)
    except ValueError as error:
        raise UserError(str(error)) from error


def read_recipe() -> Recipe:
    """The recipe that `--recipe` names, with what flags of its own say, in `--epochs`."""
    names = [field.name for field in dataclasses.fields(Recipe)]
    given = {n: flags.FLAGS[n].value for n in names if not flags.FLAGS[n].using_default_value}
    recipe = dataclasses.replace(RECIPES[flags.FLAGS.recipe], **given)
    epochs = flags.FLAGS.epochs
    return recipe if epochs is None else recipe.of_epochs(epochs)


def config_from_flags() -> DRNetConfig:
    """The architecture that the flags of `define_model_flags` describe."""
    values = flags.FLAGS
    changes = {name: values[name].value for name in _ARCHITECTURE_FLAGS}
    changes |= {"branches": values.branches and tuple(values.branches)}
    changes = {name: value for name, value in changes.items() if value is not None}
    try:
        return model_config(values.model, **changes)
    except ValueError as error:
        raise UserError(str(error)) from error


def command_of(run: Run) -> str:
    """The command that begins a run, in flags that differ from their defaults alone.

    Where files lie on a machine says nothing about the run: `--data_dir=DIR` stands for the data.
    """
    given = {"model": run.model, "dataset": run.dataset}
    config, registered = run.config.to_dict(), model_config(run.model).to_dict()
    changed = [
        name for name in (*_ARCHITECTURE_FLAGS, "branches") if config[name] != registered[name]
    ]
    given |= {name: config[name] for name in changed}
    for description in (Recipe, Augmentation, Settings):
        for field in dataclasses.fields(description):
            value = run.settings.get(field.name, field.default)
            if field.name not in _NOT_FLAGS and value != field.default:
                given[field.name] = value
    given |= {name: place for name, place in _PLACES.items() if name in given}
    given_flags = (shlex.quote(_as_flag(name, value)) for name, value in given.items())
    return " ".join(["python -m drnet_tf.train", *given_flags])


def _as_flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return f"--{name}={value}"
