"""Trains a model in a workdir, from its settings to the finished model."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib

import keras

from drnet_tf.backends.choice import placement_module, step_module
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.evaluation_images import open_images
from drnet_tf.errors import UserError
from drnet_tf.models import build_from_config
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.cost import cost_table
from drnet_tf.models.drnet.latencies import LATENCIES, LatencyTable
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.objective import Resource
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.checkpoints import Checkpoint, latest_checkpoint
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.workdir import MODEL_FILE, RUN_FILE, Run, claimed
from drnet_tf.training import loop
from drnet_tf.training.feeds import open_feed
from drnet_tf.training.norm_moments import recalibrate_run
from drnet_tf.training.observers import make_observers
from drnet_tf.training.placement import Placement
from drnet_tf.training.resumption import check_others, holds_run
from drnet_tf.training.warm_start import initial_checkpoint
from drnet_tf.writing import replacing

#: Seconds after which reading a data set into memory shows its progress.
READING_PATIENCE = 1.0


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
    if settings.resource == "latency":
        run.settings[LATENCIES] = _latencies(workdir, config, settings).to_dict()
    holds_run(workdir, run)
    try:
        cost_table(config)
    except ValueError as error:  # an unknown branch
        raise UserError(str(error)) from error
    initial = None
    if settings.initial_weights:
        initial = initial_checkpoint(settings.initial_weights, workdir, config)
    # Before the data: processes have to find each other before anything is computed.
    placement = placement_module().place(settings.distribution, recipe.batch_size)
    with ProgressBar(f"reading {dataset_name}", patience=READING_PATIENCE) as progress:
        feed = open_feed(
            dataset_name,
            settings.data_dir,
            settings.input_pipeline,
            image_size=config.image_size,
            batch_size=recipe.batch_size,
            augmentation=augmentation,
            seed=settings.seed,
            train_on_validation=settings.train_on_validation,
            on_progress=progress.update,
            share=(placement.process, placement.processes),
        )
    if feed.classes != config.classes:
        raise UserError(
            f"{dataset_name} has {feed.classes} classes and {model_name} {config.classes}; "
            f"choose a model for this data set, or --classes={feed.classes}"
        )
    claim = claimed(workdir) if placement.chief else contextlib.nullcontext()
    with placement.together(), claim:
        return _train(workdir, run, config, recipe, settings, module, feed, placement, initial)


def _train(workdir, run, config, recipe, settings, module, feed, placement, initial) -> int:
    if placement.chief and not holds_run(workdir, run):
        run.save(workdir)
    check_others(workdir, run, placement)
    keras.utils.set_random_seed(settings.seed)
    if settings.deterministic:
        module.make_deterministic()
    with placement.scope():
        model = build_from_config(config, seed=settings.seed, dtype=settings.dtype)
        if initial is not None:
            initial.restore_finished(model)
        resource = _resource(run, model)
        step_function = module.TrainingStep(model, recipe, resource, feed)
    observers = []
    if settings.validate_epochs:
        images = open_images(
            run.dataset,
            settings.data_dir,
            config.image_size,
            train_on_validation=settings.train_on_validation,
        )
        observers = make_observers(step_function, images)
    with _progress("training", placement) as progress:
        done = loop.train(
            step_function,
            recipe,
            feed,
            workdir,
            checkpoint_seconds=60 * (settings.checkpoint_minutes or float("inf")),
            progress=progress,
            observers=observers,
            observe_epochs=max(1, settings.validate_epochs),
            placement=placement,
        )
    placement.gather(0)  # the chief has written the last checkpoint
    if (path := latest_checkpoint(workdir)) is not None:
        Checkpoint.read(path).restore_finished(model)
    if recipe.recalibrate_threshold is not None:
        with _progress("recalibrating", placement) as progress:
            recalibrate_run(
                workdir,
                step_function,
                feed,
                recipe.recalibrate_threshold,
                recipe.recalibrate_images,
                progress and progress.update,
                writes=placement.chief,
            )
    if placement.chief:
        with replacing(pathlib.Path(workdir, MODEL_FILE)) as path:
            model.save(path)
    return done


def _progress(title: str, placement: Placement):
    return ProgressBar(title) if placement.chief else contextlib.nullcontext()


def _run(model_name, config, dataset_name, recipe, augmentation, settings) -> Run:
    values = {
        **dataclasses.asdict(recipe),
        **dataclasses.asdict(augmentation),
        **dataclasses.asdict(settings),
    }
    return Run(model_name, config, dataset_name, values)


def _latencies(workdir: str, config: DRNetConfig, settings: Settings) -> LatencyTable:
    """The table of latencies that the settings name, or else that of the run in the workdir."""
    if settings.latency_table:
        return LatencyTable.read(settings.latency_table, config)
    if pathlib.Path(workdir, RUN_FILE).exists():
        if values := Run.load(workdir).settings.get(LATENCIES):
            return LatencyTable.from_dict(values)
    raise UserError(
        "--resource=latency needs --latency_table=FILE, which python -m export.latency_table makes"
    )


def _resource(run: Run, model) -> Resource:
    if LATENCIES in run.settings:
        return LatencyTable.from_dict(run.settings[LATENCIES]).resource
    return Resource.from_cost(run.settings["resource"], model.cost)
