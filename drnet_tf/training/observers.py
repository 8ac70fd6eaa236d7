"""What is seen of a model while it trains: validation accuracy, and which units are selected."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from drnet_tf.backends.choice import backend_module
from drnet_tf.data.evaluation_images import EvaluationImages
from drnet_tf.evaluation.thresholds import evaluate
from drnet_tf.models.registry import family_of
from drnet_tf.runs.telemetry import Observation, macs_column
from drnet_tf.training.feeds import unaugmented_batches

#: Shares of so many images are right to 0.03.
SELECTION_IMAGES = 256


def make_observers(step_function, images: EvaluationImages) -> list[Callable[[], Observation]]:
    """Makes what there is to observe of a `TrainingStep`: its selection, where it routes, and its
    accuracy, where there are validation images."""
    model, feed, arrays = step_function.model, step_function.feed, step_function.arrays
    batch_size = step_function.recipe.batch_size
    # One function, compiled for batches of one size, serves both.
    forward = backend_module().compile_forward(model)
    observers: list = []
    if (knob := family_of(model.config).knob) is not None:
        sample = functools.partial(unaugmented_batches, feed, arrays, SELECTION_IMAGES)
        observers.append(SelectionRatios(model, forward, sample, knob.default))
    if images.has("validation"):
        batches = functools.partial(images.batches, "validation", batch_size)
        observers.append(Validation(model, forward, batches))
    return observers


@dataclasses.dataclass
class Validation:
    """Measures the accuracy of a model with all units, on images that it is not trained on.

    Args:
        model: of any family.
        forward: of `compile_forward(model)`.
        batches: gives pairs of images and labels, again at every call.
    """

    model: Any
    forward: Callable
    batches: Callable[[], Iterable]

    def __call__(self) -> Observation:
        (result,) = evaluate(self.model, self.batches, [None], forward=self.forward)
        return Observation({"validation_accuracy": result.accuracy})


@dataclasses.dataclass
class SelectionRatios:
    """Counts which units a model selects at a threshold, and what they cost.

    The heat map has a column for each unit of the last axis, such as the branches, and a row for
    each of the others; white is a unit that is selected for all images, black one that is for none.

    Args:
        model: of a family with routing.
        forward: of `compile_forward(model)`.
        batches: gives pairs of images and labels, always the same; read at the first call.
        threshold: T, customarily the family's default.
    """

    model: Any
    forward: Callable
    batches: Callable[[], Iterable]
    threshold: float
    sample: list = dataclasses.field(default_factory=list)

    def __call__(self) -> Observation:
        self.sample = self.sample or list(self.batches())
        (result,) = evaluate(
            self.model, lambda: self.sample, [self.threshold], forward=self.forward
        )
        rows = np.reshape(result.selected, (-1, result.selected.shape[-1]))
        return Observation(
            {macs_column(self.threshold): result.macs.mean}, {f"selected_at_{self.threshold}": rows}
        )
