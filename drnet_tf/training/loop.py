"""The training loop: steps, checkpoints, resumption and reports, the same on every backend."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from drnet_tf.errors import Stopped, UserError
from drnet_tf.models.drnet.recipe import Recipe, hyperparameters, total_steps
from drnet_tf.models.schedules import Hyperparameters
from drnet_tf.runs.checkpoints import Checkpoint, latest_checkpoint
from drnet_tf.runs.telemetry import Observation, Report
from drnet_tf.training.averaging import WeightAverage
from drnet_tf.training.feeds import Feed
from drnet_tf.training.input_wait import SLOW_INPUT, TimedBatches
from drnet_tf.training.placement import ALONE, Placement


class Progress(Protocol):
    """What a progress display has to offer."""

    def update(self, step: int, total: int, text: str) -> None: ...
    def note(self, line: str) -> None: ...


def train(
    step_function,
    recipe: Recipe,
    feed: Feed,
    workdir: str,
    *,
    checkpoint_seconds: float = math.inf,
    progress: Progress | None = None,
    observers: Sequence[Callable[[], Observation]] = (),
    observe_epochs: int = 1,
    placement: Placement = ALONE,
) -> int:
    """Trains to the end of the recipe, from the latest checkpoint of the workdir if it has one.

    Args:
        step_function: a `TrainingStep`; has the attributes `model` and `optimizer`.
        recipe: what to do at which step.
        feed: the training images.
        workdir: where checkpoints and reports go.
        checkpoint_seconds: write a checkpoint within an epoch too once that much time has passed;
            one is written at the end of every epoch.
        progress: shows how far the run is.
        observers: called after every `observe_epochs` epochs and after the last step, while the
            model has the weights that it would be used with.
        placement: of the processes that share the run the chief writes checkpoints and reports.

    Returns:
        The number of steps that the model has seen.

    Raises:
        UserError: the loss is not finite, or a checkpoint cannot be used.
        Stopped: SIGTERM came, to this process or to another that shares the run; a checkpoint is
            written.
    """
    steps_per_epoch = feed.steps_per_epoch
    model, optimizer = step_function.model, step_function.optimizer
    total = total_steps(recipe, steps_per_epoch)
    average = WeightAverage(step_function, recipe.weight_average, total)
    step = 0
    if (path := latest_checkpoint(workdir)) is not None:
        checkpoint = Checkpoint.read(path)
        checkpoint.restore(model, optimizer)
        average.load(checkpoint.average)
        step = checkpoint.step

    def save(step: int) -> None:
        step_function.sync()
        if placement.chief:
            Checkpoint.of(step, model, optimizer, average.values()).write(workdir)

    report = Report(workdir, step // steps_per_epoch, writes=placement.chief)
    validation: float | None = None
    warned = False
    saved = time.monotonic()
    with _Terminated() as terminated:
        while step < total:
            epoch, done = divmod(step, steps_per_epoch)
            sums = _MetricSums()
            started, first = time.monotonic(), step
            batches = TimedBatches(feed.batches(epoch, done))
            for batch in batches:
                values = hyperparameters(recipe, step, steps_per_epoch)
                metrics = step_function(batch, values, stop=terminated.is_set())
                step += 1
                average.update(step)
                # Reading a step's metrics waits for it: those of the step before are ready while
                # the accelerator is busy with this one.
                sums.add(step, values, metrics)
                if progress is not None and sums.latest:
                    progress.update(step, total, _text(values.stage, sums.latest, validation))
                if step % steps_per_epoch == 0 or step == total:
                    break
                stop = sums.stop or (terminated.is_set() and placement.processes == 1)
                if stop or time.monotonic() - saved > checkpoint_seconds:
                    sums.flush()
                    save(step)
                    saved = time.monotonic()
                    if stop:
                        raise _stopped(step)
            if step == first:
                raise UserError(f"the data gave no batch for epoch {epoch}")
            row = {"steps": step - first} | sums.means()
            seconds = time.monotonic() - started
            row["images_per_second"] = (step - first) * recipe.batch_size / seconds
            row["input_wait"] = batches.waited / seconds
            if progress is not None and not warned and batches.is_bottleneck(seconds):
                progress.note(SLOW_INPUT.format(epoch=epoch, share=row["input_wait"]))
                warned = True
            settings = {
                "stage": values.stage,
                "learning_rate": values.learning_rate,
                "temperature": values.temperature,
            }
            report.epoch({"epoch": epoch, "step": step, **settings, **row})
            save(step)
            saved = time.monotonic()
            stop = sums.stop or (terminated.is_set() and placement.processes == 1)
            if stop and step < total:
                raise _stopped(step)
            # Last, since it may take long: a process that is killed meanwhile has all else written.
            if (epoch + 1) % observe_epochs == 0 or step == total:
                scalars = _observed(observers, average, report, step)
                validation = scalars.get("validation_accuracy", validation)
                report.add(scalars, step)
    return step


def _observed(observers, average: WeightAverage, report: Report, step: int) -> dict:
    scalars: dict[str, float] = {}
    if observers:
        with average.in_use():
            for observe in observers:
                observation = observe()
                scalars |= observation.scalars
                report.images(observation.images, step)
    return scalars


def _stopped(step: int) -> Stopped:
    return Stopped(f"stopped after step {step}; the same command goes on from there")


class _MetricSums:
    """Sums the metrics of the steps of an epoch, reading each step's when the next has begun.

    Attributes:
        stop: whether a process that shares the run asked to stop, by a step that was read. All
            learn it by the same step, and stop at the same one.
    """

    def __init__(self):
        self.stop = False
        self.pending = None
        self.sums: dict[str, float] = {}
        self.steps = 0
        self.latest: dict[str, float] = {}

    def add(self, step: int, values: Hyperparameters, metrics) -> None:
        self.flush()
        self.pending = (step, values, metrics)

    def flush(self) -> None:
        """Reads what is pending.

        Raises:
            UserError: the loss is not finite.
        """
        if self.pending is None:
            return
        step, values, metrics = self.pending
        self.pending = None
        self.latest = {name: float(value) for name, value in metrics.items()}
        self.stop |= self.latest.pop("stop") > 0
        if not math.isfinite(self.latest["loss"]):
            raise UserError(
                f"the loss is {self.latest['loss']} at step {step} (learning rate "
                f"{values.learning_rate:.4g}); begin anew in another --workdir with a lower one"
            )
        self.steps += 1
        for name, value in self.latest.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        self.flush()
        return {name: value / self.steps for name, value in self.sums.items()}


def _text(stage: int, metrics: dict[str, float], validation: float | None) -> str:
    validated = "" if validation is None else f"  validation {validation:.3f}"
    return (
        f"stage {stage}  loss {metrics['loss']:.3f}  accuracy {metrics['accuracy']:.3f}"
        f"  E[MACs] {metrics['expected_macs'] / 1e6:.1f}M{validated}"
    )


class _Terminated:
    """While in the block, SIGTERM sets a flag instead of ending the process at once."""

    def __enter__(self):
        self.flag = threading.Event()
        self.previous = None
        if threading.current_thread() is threading.main_thread():
            self.previous = signal.signal(signal.SIGTERM, lambda *_: self.flag.set())
        return self.flag

    def __exit__(self, *_):
        if self.previous is not None:
            signal.signal(signal.SIGTERM, self.previous)
