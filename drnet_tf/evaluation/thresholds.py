"""Accuracy and cost of a trained model at each threshold (Sec. 4.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from drnet_tf.backends.choice import backend_module
from drnet_tf.errors import UserError
from drnet_tf.progress import Progress, silent


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Describes one number over the images of a data set."""

    mean: float
    min: float
    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, values) -> Distribution:
        low, median, high, top = np.percentile(values, [0, 50, 95, 100], method="nearest")
        return cls(float(np.mean(values)), float(low), float(median), float(high), float(top))


@dataclasses.dataclass(frozen=True)
class ThresholdResult:
    """Holds what a model does at one threshold.

    Args:
        threshold: T; None with all units, where nothing routes for example.
        accuracy: share of the images that are classified correctly.
        images: how many there are.
        params, macs: of the selected units and the fixed part, over the images.
        selected: share of the images that select each unit, [*units].
    """

    threshold: float | None
    accuracy: float
    images: int
    params: Distribution
    macs: Distribution
    selected: np.ndarray

    def to_dict(self) -> dict:
        """Returns the result in the types that JSON has."""
        return dataclasses.asdict(self) | {"selected": np.round(self.selected, 6).tolist()}


def evaluate(
    model,
    batches: Callable[[], Iterable],
    thresholds: Sequence[float | None],
    progress: Progress = silent,
    forward: Callable | None = None,
) -> list[ThresholdResult]:
    """Evaluates a model with the batches of a data set, once for each threshold.

    Args:
        batches: gives pairs of images, float [batch, height, width, 3] in 0..255, and labels; a
            last batch may be smaller than the first.
        thresholds: values of T; None runs all units.
        forward: of `compile_forward(model)`, where there is one already.
    """
    forward = forward or backend_module().compile_forward(model)
    results = []
    for index, threshold in enumerate(thresholds):
        predictions, truth, masks = [], [], []
        size = None
        for images, labels in batches():
            images, labels = np.asarray(images), np.asarray(labels)
            size = size or len(images)
            logits, mask = forward(padded(images, size), threshold)
            predictions.append(logits[: len(images)].argmax(axis=-1))
            masks.append(mask[: len(images)])
            truth.append(labels)
        if not truth:
            raise UserError("there is no image to evaluate with")
        selected = np.concatenate(masks)
        correct = np.concatenate(predictions) == np.concatenate(truth)
        params, macs = model.cost.of_selection(selected)
        results.append(
            ThresholdResult(
                threshold=None if threshold is None else float(threshold),
                accuracy=float(correct.mean()),
                images=len(correct),
                params=Distribution.of(params),
                macs=Distribution.of(macs),
                selected=selected.mean(axis=0),
            )
        )
        progress(index + 1, len(thresholds), "")
    return results


def padded(images: np.ndarray, size: int) -> np.ndarray:
    """Adds as many images of zeros as make `size` of them: one size is compiled once."""
    missing = size - len(images)
    return np.pad(images, [(0, missing)] + [(0, 0)] * (images.ndim - 1)) if missing else images
