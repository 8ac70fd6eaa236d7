"""Trains a model in a workdir, from its settings to the finished model."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import pathlib

import keras

from drnet_tf.backends.choice import backend_module
from drnet_tf.errors import UserError
from drnet_tf.evaluation.trained import open_run_images
from drnet_tf.models.latencies import LatencyTable
from drnet_tf.models.objective import Resource
from drnet_tf.models.registry import build_from_config
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.checkpoints import Checkpoint, latest_checkpoint
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.workdir import MODEL_FILE, RUN_FILE, Run, claimed
from drnet_tf.training import loop
from drnet_tf.training.backend_parts import backend_part
from drnet_tf.training.feeds import Feed, open_feed
from drnet_tf.training.norm_moments import finish_norm_moments
from drnet_tf.training.observers import make_observers
from drnet_tf.training.placement import Placement
from drnet_tf.training.resumption import check_others, holds_run
from drnet_tf.training.warm_start import initial_checkpoint
from drnet_tf.writing import replacing

#: Seconds after which reading a data set into memory shows its progress.
READING_PATIENCE = 1.0


def train(workdir: str, run: Run) -> int:
    """Trains in `workdir`, or resumes what was trained there; returns the number of steps done.

    Args:
        run: what to train on what; `fit` and `latencies` are found out where they are missing.

    Raises:
        UserError: the input makes no sense together, or the workdir holds another run.
    """
    backend_part("step")  # refuses other backends before any work
    run.family.cost(run.config)  # refuses an unknown branch
    run = _with_latencies(workdir, run)
    holds_run(workdir, run)
    initial = None
    if run.settings.initial_weights:
        initial = initial_checkpoint(run.settings.initial_weights, workdir, run.config)
    # Before the data: processes have to find each other before anything is computed.
    placement = backend_part("placement").place(run.settings.distribution, run.recipe.batch_size)
    with ProgressBar(f"reading {run.dataset}", patience=READING_PATIENCE) as progress:
        feed = open_feed(
            run, progress=progress.update, share=(placement.process, placement.processes)
        )
    if feed.classes != run.config.classes:
        raise UserError(
            f"{run.dataset} has {feed.classes} classes and {run.model} {run.config.classes}; "
            f"choose a model for this data set, or --classes={feed.classes}"
        )
    run = dataclasses.replace(run, fit=feed.fit)
    claim = claimed(workdir) if placement.chief else contextlib.nullcontext()
    with placement.together(), claim:
        return _train(workdir, run, feed, placement, initial)


def _train(
    workdir: str, run: Run, feed: Feed, placement: Placement, initial: Checkpoint | None
) -> int:
    if placement.chief and not holds_run(workdir, run):
        run.save(workdir)
    check_others(workdir, run, placement)
    recipe, settings = run.recipe, run.settings
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        backend_module().make_deterministic()
    with placement.scope():
        model = build_from_config(run.config, seed=settings.seed, dtype=settings.dtype)
        if initial is not None:
            initial.restore_finished(model)
        objective = run.family.objective(recipe, _resource(run, model.cost))
        step_function = backend_part("step").TrainingStep(model, recipe, objective, feed)
    observers = []
    if settings.validate_epochs:
        observers = make_observers(step_function, open_run_images(run))
    schedule = functools.partial(
        run.family.step_values, recipe, steps_per_epoch=feed.steps_per_epoch
    )
    with _display("training", placement) as display:
        done = loop.train(
            step_function,
            schedule,
            recipe,
            feed,
            workdir,
            display,
            checkpoint_seconds=60 * (settings.checkpoint_minutes or math.inf),
            observers=observers,
            observe_epochs=max(1, settings.validate_epochs),
            placement=placement,
        )
    placement.gather(0)  # the chief has written the last checkpoint
    if (path := latest_checkpoint(workdir)) is not None:
        Checkpoint.read(path).restore_finished(model)
    if recipe.norm_moments_threshold is not None:
        with _display("computing norm moments", placement) as display:
            finish_norm_moments(workdir, step_function, feed, display.update, placement.chief)
    if placement.chief:
        with replacing(pathlib.Path(workdir, MODEL_FILE)) as path:
            model.save(path)
    return done


def _display(title: str, placement: Placement) -> ProgressBar:
    return ProgressBar(title, patience=None if placement.chief else math.inf)


def _with_latencies(workdir: str, run: Run) -> Run:
    """Adds the table of latencies that the settings name, else that of the run in the workdir."""
    settings, resources = run.settings, run.family.resources
    if not resources and settings.resource != Settings().resource:
        raise UserError(f"{run.model} has no routing: --resource has no effect on it; leave it out")
    if resources and settings.resource not in resources:
        raise UserError(f"--resource must be one of {', '.join(resources)} for {run.model}")
    if settings.resource != "latency":
        return run
    if settings.latency_table:
        table = LatencyTable.read(settings.latency_table, run.config)
        return dataclasses.replace(run, latencies=table.to_dict())
    if pathlib.Path(workdir, RUN_FILE).exists() and (old := Run.load(workdir)).latencies:
        return dataclasses.replace(run, latencies=old.latencies)
    raise UserError(
        "--resource=latency needs --latency_table=FILE, which python -m export.latency_table makes"
    )


def _resource(run: Run, cost) -> Resource | None:
    if not run.family.resources:
        return None
    if run.latencies is not None:
        return LatencyTable.from_dict(run.latencies).resource
    return Resource.from_cost(run.settings.resource, cost)
