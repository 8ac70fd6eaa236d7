"""What is seen of a model while it trains: validation accuracy, and which branches are selected."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import numpy as np

from drnet_tf.backends.choice import step_module
from drnet_tf.data.evaluation_images import EvaluationImages
from drnet_tf.evaluation.thresholds import evaluate
from drnet_tf.runs.telemetry import MACS_COLUMN, WATCHED_THRESHOLD, Observation
from drnet_tf.training.feeds import unaugmented_batches

#: Shares of so many images are right to 0.03.
SELECTION_IMAGES = 256


def make_observers(step_function, images: EvaluationImages) -> list[Callable[[], Observation]]:
    """Both for a `TrainingStep`; without validation images only the selection is watched."""
    model, feed, arrays = step_function.model, step_function.feed, step_function.arrays
    batch_size = step_function.recipe.batch_size
    # One function, compiled for batches of one size, serves both.
    forward = step_module().compile_forward(model)
    sample = functools.partial(unaugmented_batches, feed, arrays, SELECTION_IMAGES)
    observers: list = [SelectionRatios(model, forward, sample)]
    if images.has("validation"):
        batches = functools.partial(images.batches, "validation", batch_size)
        observers.append(Validation(model, forward, batches))
    return observers


class Validation:
    """Accuracy of a model with all branches, on images that it is not trained on.

    Args:
        model: a `DRNet`.
        forward: of `compile_forward(model)`.
        batches: gives pairs of images and labels, again at every call.
    """

    def __init__(self, model, forward: Callable, batches: Callable[[], Iterable]):
        self.model = model
        self.forward = forward
        self.batches = batches

    def __call__(self) -> Observation:
        (result,) = evaluate(self.model, self.batches, [1.0], forward=self.forward)
        return Observation({"validation_accuracy": result.accuracy})


class SelectionRatios:
    """Which branches a model selects at `WATCHED_THRESHOLD`, and what they cost.

    The heat map has a row for each connection, cell by cell, and a column for each branch; white is
    a branch that is selected for all images, black one that is for none.

    Args:
        model: a `DRNet`.
        forward: of `compile_forward(model)`.
        batches: gives pairs of images and labels, always the same; read at the first call.
    """

    def __init__(self, model, forward: Callable, batches: Callable[[], Iterable]):
        self.model = model
        self.forward = forward
        self.batches = batches
        self.sample: list = []

    def __call__(self) -> Observation:
        self.sample = self.sample or list(self.batches())
        (result,) = evaluate(
            self.model, lambda: self.sample, [WATCHED_THRESHOLD], forward=self.forward
        )
        rows = np.reshape(result.selected, (-1, result.selected.shape[-1]))
        return Observation(
            {MACS_COLUMN: result.macs.mean}, {f"selected_at_{WATCHED_THRESHOLD}": rows}
        )
