"""The training loop: steps, checkpoints, resumption and reports, the same on every backend."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from drnet_tf.errors import Stopped, UserError
from drnet_tf.models.schedules import Optimization, StepValues, total_steps
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.checkpoints import Checkpoint, latest_checkpoint
from drnet_tf.runs.telemetry import Observation, Report
from drnet_tf.training.averaging import WeightAverage
from drnet_tf.training.feeds import Feed
from drnet_tf.training.input_wait import SLOW_INPUT, TimedBatches
from drnet_tf.training.placement import ALONE, Placement

#: What a run does at step n, counted from 0.
Schedule = Callable[[int], StepValues]


def train(
    step_function,
    schedule: Schedule,
    recipe: Optimization,
    feed: Feed,
    workdir: str,
    display: ProgressBar,
    *,
    checkpoint_seconds: float = math.inf,
    observers: Sequence[Callable[[], Observation]] = (),
    observe_epochs: int = 1,
    placement: Placement = ALONE,
) -> int:
    """Trains to the end of the recipe, from the latest checkpoint of the workdir if it has one.

    Returns the number of steps that the model has seen.

    Args:
        step_function: a `TrainingStep`; has the attributes `model` and `optimizer`.
        schedule: what to do at which step.
        recipe: how long to train, and how weights are averaged.
        feed: the training images.
        workdir: where checkpoints and reports go.
        display: shows how far the run is.
        checkpoint_seconds: write a checkpoint within an epoch too once that much time has passed;
            one is written at the end of every epoch.
        observers: called after every `observe_epochs` epochs and after the last step, while the
            model has the weights that it would be used with.
        placement: of the processes that share the run the chief writes checkpoints and reports.

    Raises:
        UserError: the loss is not finite, or a checkpoint cannot be used.
        Stopped: SIGTERM came, to this process or to another that shares the run; a checkpoint is
            written.
    """
    loop = _Loop(step_function, schedule, recipe, feed, workdir, display, placement)
    loop.restore()
    report = Report(workdir, loop.step // feed.steps_per_epoch, writes=placement.chief)
    with _terminated() as terminated:
        while loop.step < loop.total:
            epoch = loop.step // feed.steps_per_epoch
            report.epoch(loop.run_epoch(epoch, terminated, checkpoint_seconds))
            loop.save()
            if loop.asked_to_stop(terminated) and loop.step < loop.total:
                raise _stopped(loop.step)
            # Last, since it may take long: a process that is killed meanwhile has all else written.
            if (epoch + 1) % observe_epochs == 0 or loop.step == loop.total:
                loop.observe(observers, report)
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
    display: ProgressBar
    placement: Placement
    step: int = 0
    validation: float | None = None

    def __post_init__(self):
        self.total = total_steps(self.recipe, self.feed.steps_per_epoch)
        share = self.recipe.weight_average
        self.average = WeightAverage(self.step_function, share, self.total)
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
        """Does the steps of an epoch that are not done yet; returns its row of metrics.csv."""
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
            if latest := self.sums.latest:
                text = _text(values.stage, latest, self.validation)
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
        if self.placement.chief and not self.warned and batches.is_bottleneck(seconds):
            share = batches.waited / seconds
            self.display.note(SLOW_INPUT.format(epoch=epoch, share=share))
            self.warned = True
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

    def observe(self, observers: Sequence[Callable[[], Observation]], report: Report) -> None:
        """Reports what is seen of the model with the weights that it would be used with."""
        if not observers:
            return
        scalars: dict[str, float] = {}
        with self.average.in_use():
            for observation in (observe() for observe in observers):
                scalars |= observation.scalars
                report.images(observation.images, self.step)
        self.validation = scalars.get("validation_accuracy", self.validation)
        report.add(scalars, self.step)


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
        """Reads what is pending; a loss that is not finite ends the run."""
        if self.pending is None:
            return
        step, values, metrics = self.pending
        self.pending = None
        self.latest = {name: float(value) for name, value in metrics.items()}
        self.stop |= self.latest.pop("stop") > 0
        if not math.isfinite(self.latest["loss"]):
            raise UserError(
                f"the loss is {self.latest['loss']} at step {step} (learning rate "
                f"{values.learning_rate:.4g}); start again in another --workdir with a lower one"
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


@contextlib.contextmanager
def _terminated() -> Iterator[threading.Event]:
    """Makes SIGTERM set a flag instead of ending the process at once, while in the block."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: flag.set())
    try:
        yield flag
    finally:
        signal.signal(signal.SIGTERM, previous)
