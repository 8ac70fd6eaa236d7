"""The flags of a training run: one for each field of what describes it.

A recipe and an architecture belong to a family: their flags are those of all families together, and
one that the model's family does not have is refused. A flag that is not given has no value; what
then counts is the recipe that --recipe names, and the registered architecture.
"""

from __future__ import annotations

import dataclasses
import shlex
import types
import typing
from collections.abc import Iterable
from typing import Any

from absl import flags

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.docstrings import described_fields
from drnet_tf.errors import UserError
from drnet_tf.models.family import Family
from drnet_tf.models.registry import FAMILIES, find_family, list_models, model_config
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.workdir import RENAMED_SETTINGS, Run

NONE = "none"  # so that a command can take back what its flagfile or recipe says
PAPER = "paper"
#: What stands for a place on a machine in the command of a run.
_PLACES = {"data_dir": "DIR", "latency_table": "FILE", "initial_weights": "OTHER_RUN"}


def define_flags() -> None:
    """Defines all flags of a training run."""
    flags.DEFINE_string("workdir", None, "Folder of the run; a run that is in it is resumed.")
    flags.DEFINE_string("dataset", None, "Name of the data set, such as cifar10, or an .npz file.")
    names = dict.fromkeys(name for family in FAMILIES.values() for name in family.recipes)
    text = "Recipe that flags of their own change; each family has its own values."
    flags.DEFINE_enum("recipe", PAPER, list(names), text)
    flags.DEFINE_float("epochs", None, "Length of the run; its stages keep their shares of it.")
    _define_flags([family.recipe for family in FAMILIES.values()], given_only=True)
    for former, name in RENAMED_SETTINGS.items():
        flags.DEFINE_alias(former, name)
    _define_flags([Augmentation])
    _define_flags([Settings])
    define_model_flags()


def define_model_flags() -> None:
    """Defines the flags of a model and its architecture."""
    flags.DEFINE_string("model", None, f"One of {', '.join(list_models())}.")
    _define_flags([family.config for family in FAMILIES.values()], given_only=True)


def _fields(description: Any) -> list[dataclasses.Field]:
    """Lists the fields that are flags of their own; --epochs is of all recipes together."""
    fields = [field for field in dataclasses.fields(description) if field.name != "epochs"]
    return [field for field in fields if field.metadata.get("flag", True)]


def _define_flags(descriptions: Iterable[type], given_only: bool = False) -> None:
    """Defines a flag for each field of some dataclasses, explained by their docstrings.

    Args:
        given_only: whether a flag that is not given has no value, instead of the field's default.
    """
    defined = set()
    for description in descriptions:
        kinds, texts = typing.get_type_hints(description), described_fields(description)
        for field in _fields(description):
            if field.name not in defined:
                defined.add(field.name)
                default = None if given_only else field.default
                _define_flag(field, kinds[field.name], default, texts[field.name])


_DEFINE: dict[Any, Any] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    tuple: flags.DEFINE_list,
}


class _OptionalFloat(flags.FloatParser):
    """Reads a number, or the word by which a command takes back what its recipe says."""

    def parse(self, argument):
        return None if argument in (None, NONE) else super().parse(argument)


def _define_flag(field: dataclasses.Field, kind: Any, default: Any, text: str) -> None:
    if choices := field.metadata.get("choices"):
        flags.DEFINE_enum(field.name, default, choices, text)
    elif kind == float | None:
        flags.DEFINE(_OptionalFloat(), field.name, default, text)
    else:
        # Of a tuple, and of a kind or None, this is what the flag depends on.
        plain = typing.get_origin(kind) or kind
        if isinstance(kind, types.UnionType):
            plain = next(part for part in typing.get_args(kind) if part is not types.NoneType)
        _DEFINE[plain](field.name, default, text)


def read_run() -> Run:
    """Reads the training run that the flags describe."""
    values = flags.FLAGS
    for name in ("model", "dataset"):
        if not values[name].value:
            raise UserError(f"--{name} is needed; a --flagfile from configs/ sets the rest")
    config = config_from_flags()
    return Run(
        values.model,
        config,
        values.dataset,
        read_recipe(),
        read_flags(Augmentation, fill=config.mean),
        read_flags(Settings),
    )


def read_flags(description: type, **further: Any) -> Any:
    """Makes an instance of a dataclass from its flags."""
    values = {field.name: flags.FLAGS[field.name].value for field in _fields(description)}
    if values.get("autoaugment") == NONE:
        values["autoaugment"] = None
    return description(**values | further)


def read_recipe() -> Any:
    """Reads the recipe that --recipe names, with what flags of their own say, in --epochs."""
    family = _family()
    name, epochs = flags.FLAGS.recipe, flags.FLAGS.epochs
    if name not in family.recipes:
        known = ", ".join(family.recipes)
        raise UserError(f"{flags.FLAGS.model} has the recipes {known}, not {name}")
    recipe = dataclasses.replace(family.recipes[name], **_given(family, "recipe"))
    return recipe if epochs is None else recipe.of_epochs(epochs)


def config_from_flags() -> Any:
    """Reads the architecture that the flags of `define_model_flags` describe."""
    return model_config(flags.FLAGS.model, **_given(_family(), "config"))


def _family() -> Family:
    # Without --model, as in tests of recipes, flags are those of the first family.
    name = flags.FLAGS.model
    return find_family(name) if name else next(iter(FAMILIES.values()))


def _given(family: Family, part: str) -> dict[str, Any]:
    """Returns what the given flags say of a family's recipe or configuration.

    One that only another family has is refused.
    """
    own = {field.name for field in dataclasses.fields(getattr(family, part))}
    given = {}
    for other in FAMILIES.values():
        for name in (field.name for field in _fields(getattr(other, part))):
            if not flags.FLAGS[name].present:
                continue
            if name not in own:
                raise UserError(f"{flags.FLAGS.model} has no {name}: leave out --{name}")
            value = flags.FLAGS[name].value
            given[name] = tuple(value) if isinstance(value, list) else value
    return given


def command_of(run: Run) -> str:
    """Returns the command that begins a run, in flags that differ from their defaults alone.

    Where files lie on a machine says nothing about the run: `--data_dir=DIR` stands for the data.
    """
    given: dict[str, Any] = {"model": run.model, "dataset": run.dataset}
    given |= _changed(model_config(run.model), run.config)
    given |= _recipe_flags(run)
    given |= _changed(Augmentation(), run.augmentation) | _changed(Settings(), run.settings)
    given |= {name: place for name, place in _PLACES.items() if name in given}
    given_flags = (shlex.quote(_as_flag(name, value)) for name, value in given.items())
    return " ".join(["python -m drnet_tf.train", *given_flags])


def _recipe_flags(run: Run) -> dict[str, Any]:
    """Returns the flags of a recipe: by the name, and the length, that leave the fewest others."""
    epochs = round(run.recipe.epochs, 6)
    found = []
    for name, recipe in run.family.recipes.items():
        start = {} if name == PAPER else {"recipe": name}
        if recipe.epochs == epochs:
            found.append(start | _changed(recipe, run.recipe))
        scaled = recipe.of_epochs(epochs)
        found.append(start | {"epochs": f"{epochs:g}"} | _changed(scaled, run.recipe))
    return min(found, key=len)


def _changed(before: Any, after: Any) -> dict[str, Any]:
    """Returns the fields that have flags and differ, with their later values."""
    names = [field.name for field in _fields(after)]
    return {
        name: getattr(after, name)
        for name in names
        if getattr(after, name) != getattr(before, name)
    }


def _as_flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return f"--{name}={NONE if value is None else value}"
