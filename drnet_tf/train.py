"""Trains a DRNet: python -m drnet_tf.train --flagfile=configs/NAME.flags --workdir=DIR

The same command goes on where a run that was stopped left off.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import pathlib
import typing
from typing import Any

import keras
from absl import flags

from drnet_tf import command_line
from drnet_tf.architecture import RECALIBRATIONS, ROUTERS, STEMS, DRNetConfig
from drnet_tf.cost import cost_table
from drnet_tf.data.augmentation import AUTOAUGMENT_POLICIES, Augmentation
from drnet_tf.errors import UserError
from drnet_tf.models import build_from_config, list_models, model_config
from drnet_tf.progress import ProgressBar
from drnet_tf.training import loop
from drnet_tf.training.backend import placement_module, step_module
from drnet_tf.training.checkpoints import latest_checkpoint, list_checkpoints
from drnet_tf.training.feeds import PIPELINES, open_feed
from drnet_tf.training.objective import RESOURCES, Resource
from drnet_tf.training.placement import DISTRIBUTIONS, Placement
from drnet_tf.training.schedules import LEARNING_RATES, Recipe
from drnet_tf.training.workdir import MODEL_FILE, RUN_FILE, Run, claimed
from drnet_tf.writing import replacing

#: float16 would need its loss scaled.
DTYPES = ("float32", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that defines a training run but its recipe, augmentation and architecture.

    Args:
        data_dir: of the prepared data set; None is the default of tensorflow-datasets.
        input_pipeline: "tfdata", or "device" for a small set that stays on the accelerator.
        train_on_validation: train on the validation images too.
        seed: of initial weights, noise, order and augmentation.
        deterministic: the same bits every time, at some cost of speed.
        resource: what E[R] counts, "flops" or "params".
        dtype: a Keras dtype policy.
        checkpoint_minutes: between checkpoints within an epoch; 0 for none.
        distribution: over which devices, one of `DISTRIBUTIONS`; the docstrings of
            tensorflow_placement and jax_placement say what each is.
    """

    data_dir: str | None = None
    input_pipeline: str = "tfdata"
    train_on_validation: bool = False
    seed: int = 0
    deterministic: bool = False
    resource: str = "flops"
    dtype: str = "float32"
    checkpoint_minutes: float = 10.0
    distribution: str = "auto"

    def __post_init__(self):
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed must be between 0 and {2**32 - 1}, not {self.seed}")
        if self.dtype not in DTYPES:
            raise UserError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype}")
        if not 0 <= self.checkpoint_minutes < math.inf:
            raise UserError(f"checkpoint_minutes must be 0 or more, not {self.checkpoint_minutes}")


def train(
    workdir: str,
    model_name: str,
    config: DRNetConfig,
    dataset_name: str,
    recipe: Recipe,
    augmentation: Augmentation,
    settings: Settings,
) -> int:
    """Trains, or goes on training, in `workdir`; returns the number of steps done.

    Raises:
        UserError: the input makes no sense together, or the workdir holds another run.
    """
    module = step_module()
    run = _run(model_name, config, dataset_name, recipe, augmentation, settings)
    _check_workdir(workdir, run)
    try:
        cost_table(config)
    except ValueError as error:  # an unknown branch
        raise UserError(str(error)) from error
    # Before the data: processes have to find each other before anything is computed.
    placement = placement_module().place(settings.distribution, recipe.batch_size)
    feed = open_feed(
        dataset_name,
        settings.data_dir,
        settings.input_pipeline,
        image_size=config.image_size,
        batch_size=recipe.batch_size,
        augmentation=augmentation,
        seed=settings.seed,
        train_on_validation=settings.train_on_validation,
        share=(placement.process, placement.processes),
    )
    if feed.classes != config.classes:
        raise UserError(
            f"{dataset_name} has {feed.classes} classes and {model_name} {config.classes}; "
            f"choose a model for this data set, or --classes={feed.classes}"
        )
    claim = claimed(workdir) if placement.chief else contextlib.nullcontext()
    with placement.together(), claim:
        return _train(workdir, run, config, recipe, settings, module, feed, placement)


def _train(workdir, run, config, recipe, settings, module, feed, placement) -> int:
    if placement.chief and not _check_workdir(workdir, run):
        run.save(workdir)
    _check_others(workdir, run, placement)
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        module.make_deterministic()
    with placement.scope():
        model = build_from_config(config, seed=settings.seed, dtype=settings.dtype)
        resource = Resource.from_cost(settings.resource, model.cost)
        step_function = module.TrainingStep(model, recipe, resource, feed)
    with ProgressBar("training") if placement.chief else contextlib.nullcontext() as progress:
        done = loop.train(
            step_function,
            recipe,
            feed,
            workdir,
            checkpoint_seconds=60 * (settings.checkpoint_minutes or float("inf")),
            progress=progress,
            placement=placement,
        )
    if placement.chief:
        with replacing(pathlib.Path(workdir, MODEL_FILE)) as path:
            model.save(path)
    return done


def _run(model_name, config, dataset_name, recipe, augmentation, settings) -> Run:
    values = {
        **dataclasses.asdict(recipe),
        **dataclasses.asdict(augmentation),
        **dataclasses.asdict(settings),
    }
    return Run(model_name, config, dataset_name, values)


#: Settings that may differ when a run goes on: they do not change what it computes.
_FREE_SETTINGS = ("data_dir", "checkpoint_minutes", "distribution")


def _check_workdir(workdir: str, run: Run) -> bool:
    """Whether the workdir holds this run already.

    Raises:
        UserError: it holds another one, or is no folder.
    """
    if not pathlib.Path(workdir, RUN_FILE).exists():
        if pathlib.Path(workdir).exists() and not pathlib.Path(workdir).is_dir():
            raise UserError(f"--workdir={workdir} is a file; name a folder")
        if list_checkpoints(workdir):
            raise UserError(f"{workdir} has checkpoints but no {RUN_FILE} that says of what")
        return False
    old = Run.load(workdir)
    before, now = _flat(old), _flat(run)
    differing = [name for name in now if before.get(name) != now[name]]
    if differing:
        name = differing[0]
        raise UserError(
            f"{workdir} holds another run: its {name} is {before.get(name)}, not {now[name]}; "
            "use its settings to go on, or another folder to begin anew"
        )
    return True


def _check_others(workdir: str, run: Run, placement: Placement) -> None:
    """Waits for the processes that share the run.

    Raises:
        UserError: they were told to do another one, or do not see the same files.
    """
    placement.agree("what they train", json.dumps(_flat(run)))
    if not _check_workdir(workdir, run):
        raise UserError(f"--workdir={workdir} must be one folder that all processes of the run see")
    path = latest_checkpoint(workdir)
    placement.agree(f"the checkpoints that they see in {workdir}", path.name if path else "")


def _flat(run: Run) -> dict[str, Any]:
    values = {"model": run.model, "dataset": run.dataset, **run.config.to_dict(), **run.settings}
    # As JSON has it: tuples come back as lists.
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in _FREE_SETTINGS
    }


NO_POLICY = "none"  # so that a command can take back what its flagfile says

#: What each flag of a recipe or an augmentation says in --help is in the docstring of its class.
_CHOICES = {
    "learning_rate_schedule": LEARNING_RATES,
    "autoaugment": (NO_POLICY, *AUTOAUGMENT_POLICIES),
    "recalibration": RECALIBRATIONS,
    "router": ROUTERS,
    "stem": STEMS,
    "resource": RESOURCES,
    "input_pipeline": PIPELINES,
    "distribution": DISTRIBUTIONS,
}
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
    """Defines the flags of this command; not on import, so that others can use its functions."""
    flags.DEFINE_string("workdir", None, "Folder of the run; a run in it goes on.")
    flags.DEFINE_string("model", None, f"One of {', '.join(list_models())}.")
    flags.DEFINE_string("dataset", None, "Name of the data set, such as cifar10.")
    flags.DEFINE_list("branches", None, "Names of the branches, instead of the model's.")
    _define_flags(Recipe, "Recipe")
    _define_flags(Augmentation, "Augmentation")
    _define_flags(Settings, "Run")
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


def _define_flag(name: str, kind: type, default: Any, text: str) -> None:
    if name in _CHOICES:
        flags.DEFINE_enum(name, default, _CHOICES[name], text)
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
    if values.get("autoaugment") == NO_POLICY:
        values["autoaugment"] = None
    try:
        return description(**values, **further)
    except ValueError as error:
        raise UserError(str(error)) from error


def train_from_flags() -> int:
    """Trains as the flags say; returns the number of steps done."""
    values = flags.FLAGS
    for name in ("workdir", "model", "dataset"):
        if not values[name].value:
            raise UserError(f"--{name} is needed; a --flagfile from configs/ sets the rest")
    changes = {name: values[name].value for name in _ARCHITECTURE_FLAGS}
    changes |= {"branches": values.branches and tuple(values.branches)}
    changes = {name: value for name, value in changes.items() if value is not None}
    try:
        config = model_config(values.model, **changes)
    except ValueError as error:
        raise UserError(str(error)) from error
    return train(
        values.workdir,
        values.model,
        config,
        values.dataset,
        read_flags(Recipe),
        read_flags(Augmentation, fill=config.mean),
        read_flags(Settings),
    )


def main() -> None:
    steps = train_from_flags()
    workdir = flags.FLAGS.workdir
    print(f"trained {steps} steps; next: python -m drnet_tf.evaluate --workdir={workdir}")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
