"""The training loop: steps, checkpoints, resumption and reports, the same on every backend."""

from __future__ import annotations

import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from drnet_tf.errors import Stopped, UserError
from drnet_tf.models.schedules import Optimization, StepValues, total_steps
from drnet_tf.runs.checkpoints import Checkpoint, latest_checkpoint
from drnet_tf.runs.telemetry import Observation, Report
from drnet_tf.training.averaging import WeightAverage
from drnet_tf.training.feeds import Feed
from drnet_tf.training.input_wait import SLOW_INPUT, TimedBatches
from drnet_tf.training.placement import ALONE, Placement

#: What a run does at step n, counted from 0.
Schedule = Callable[[int], StepValues]


class Display(Protocol):
    """Shows how far a run is; a `ProgressBar` does."""

    def update(self, step: int, total: int, text: str) -> None:
        """Shows that `step` of `total` are done."""

    def note(self, line: str) -> None:
        """Shows a line that stays."""


def train(
    step_function,
    schedule: Schedule,
    recipe: Optimization,
    feed: Feed,
    workdir: str,
    *,
    checkpoint_seconds: float = math.inf,
    display: Display | None = None,
    observers: Sequence[Callable[[], Observation]] = (),
    observe_epochs: int = 1,
    placement: Placement = ALONE,
) -> int:
    """Trains to the end of the recipe, from the latest checkpoint of the workdir if it has one.

    Args:
        step_function: a `TrainingStep`; has the attributes `model` and `optimizer`.
        schedule: what to do at which step.
        recipe: how long to train, and how weights are averaged.
        feed: the training images.
        workdir: where checkpoints and reports go.
        checkpoint_seconds: write a checkpoint within an epoch too once that much time has passed;
            one is written at the end of every epoch.
        display: shows how far the run is.
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
    total = total_steps(recipe, feed.steps_per_epoch)
    average = WeightAverage(step_function, recipe.weight_average, total)
    loop = _Loop(step_function, schedule, recipe, feed, workdir, placement, average, total, display)
    loop.restore()
    report = Report(workdir, loop.step // feed.steps_per_epoch, writes=placement.chief)
    with _Terminated() as terminated:
        while loop.step < total:
            epoch = loop.step // feed.steps_per_epoch
            row = loop.run_epoch(epoch, terminated, checkpoint_seconds)
            report.epoch(row)
            loop.save()
            if loop.asked_to_stop(terminated) and loop.step < total:
                raise _stopped(loop.step)
            # Last, since it may take long: a process that is killed meanwhile has all else written.
            if (epoch + 1) % observe_epochs == 0 or loop.step == total:
                scalars = _observed(observers, average, report, loop.step)
                loop.validation = scalars.get("validation_accuracy", loop.validation)
                report.add(scalars, loop.step)
    return loop.step


@dataclasses.dataclass
class _Loop:
    """Runs the epochs of a training run.

    Attributes:
        step: how many are done.
        validation: the latest accuracy on validation images.
    """

    step_function: Any
    schedule: Schedule
    recipe: Optimization
    feed: Feed
    workdir: str
    placement: Placement
    average: WeightAverage
    total: int
    display: Display | None
    step: int = 0
    validation: float | None = None

    def __post_init__(self):
        self.sums = _MetricSums()
        self.warned = False
        self.saved = time.monotonic()

    def restore(self) -> None:
        """Takes the state of the latest checkpoint, if there is one."""
        if (path := latest_checkpoint(self.workdir)) is not None:
            checkpoint = Checkpoint.read(path)
            checkpoint.restore(self.step_function.model, self.step_function.optimizer)
            self.average.load(checkpoint.average)
            self.step = checkpoint.step

    def save(self) -> None:
        """Writes a checkpoint."""
        self.step_function.sync()
        if self.placement.chief:
            model, optimizer = self.step_function.model, self.step_function.optimizer
            Checkpoint.of(self.step, model, optimizer, self.average.values()).write(self.workdir)
        self.saved = time.monotonic()

    def asked_to_stop(self, terminated: threading.Event) -> bool:
        """Tells whether to stop after this step, as all processes of the run do."""
        # Of several processes each learns it with the metrics of one and the same step.
        return self.sums.stop or (terminated.is_set() and self.placement.processes == 1)

    def run_epoch(
        self, epoch: int, terminated: threading.Event, checkpoint_seconds: float
    ) -> dict[str, float | int]:
        """Does the steps of an epoch that are not done yet.

        Returns:
            Its row of metrics.csv.
        """
        steps_per_epoch, first = self.feed.steps_per_epoch, self.step
        self.sums = _MetricSums()
        started = time.monotonic()
        batches = TimedBatches(self.feed.batches(epoch, self.step % steps_per_epoch))
        values = None
        for batch in batches:
            values = self.schedule(self.step)
            metrics = self.step_function(batch, values, stop=terminated.is_set())
            self.step += 1
            self.average.update(self.step)
            # Reading a step's metrics waits for it: those of the step before are ready while the
            # accelerator is busy with this one.
            self.sums.add(self.step, values, metrics)
            if self.display is not None and self.sums.latest:
                text = _text(values.stage, self.sums.latest, self.validation)
                self.display.update(self.step, self.total, text)
            if self.step % steps_per_epoch == 0 or self.step == self.total:
                break
            stop = self.asked_to_stop(terminated)
            if stop or time.monotonic() - self.saved > checkpoint_seconds:
                self.sums.flush()
                self.save()
                if stop:
                    raise _stopped(self.step)
        if values is None:
            raise UserError(f"the data gave no batch for epoch {epoch}")
        means = self.sums.means()
        seconds = time.monotonic() - started
        self._warn_of_slow_input(epoch, batches, seconds)
        shown = {name: values.scalars[name] for name in self.step_function.model.controls}
        return {
            "epoch": epoch,
            "step": self.step,
            "stage": values.stage,
            "learning_rate": values.learning_rate,
            **shown,
            "steps": self.step - first,
            **means,
            "images_per_second": (self.step - first) * self.recipe.batch_size / seconds,
            "input_wait": batches.waited / seconds,
        }

    def _warn_of_slow_input(self, epoch: int, batches: TimedBatches, seconds: float) -> None:
        if self.display is not None and not self.warned and batches.is_bottleneck(seconds):
            share = batches.waited / seconds
            self.display.note(SLOW_INPUT.format(epoch=epoch, share=share))
            self.warned = True


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
    return Stopped(f"stopped after step {step}; repeat the command to resume")


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

    def add(self, step: int, values: StepValues, metrics) -> None:
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
    macs = metrics.get("expected_macs")
    expected = "" if macs is None else f"  E[MACs] {macs / 1e6:.1f}M"
    return (
        f"stage {stage}  loss {metrics['loss']:.3f}  accuracy {metrics['accuracy']:.3f}"
        f"{expected}{validated}"
    )


class _Terminated:
    """Makes SIGTERM set a flag instead of ending the process at once, while in the block."""

    def __enter__(self):
        self.flag = threading.Event()
        self.previous = None
        if threading.current_thread() is threading.main_thread():
            self.previous = signal.signal(signal.SIGTERM, lambda *_: self.flag.set())
        return self.flag

    def __exit__(self, *_):
        if self.previous is not None:
            signal.signal(signal.SIGTERM, self.previous)
