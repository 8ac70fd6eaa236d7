"""Compares an export with the Keras model that it was made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from drnet_tf.data.decoding import fitted
from drnet_tf.errors import UserError
from drnet_tf.models.cost import CostTable
from drnet_tf.models.family import RoutedModel
from drnet_tf.progress import Progress, silent
from drnet_tf.runs.workdir import Trained
from export.folder.export import Export
from export.graphs.graph import read_graph
from export.saved_model.runner import ENCODED, WITHOUT_THRESHOLD, SavedModelRunner
from export.tflite.runner import Outputs, TFLiteRunner, joined

#: Largest difference of a logit, relative to the largest logit of the image, or of a probability.
TOLERANCE = 1e-4
BATCH = 32
SAVED_MODEL, TFLITE = "SavedModel", ".tflite"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Holds how one exported model compares with Keras at one threshold.

    Args:
        runtime: "SavedModel", ".tflite", or a signature of the SavedModel.
        threshold: T; None for a model without routing.
        images: how many were classified.
        compared: on how many all was compared strictly: all but those with a flip.
        borderline: decisions within rounding of the threshold.
        flipped: those of them that came out differently; what follows from them is not compared.
        wrong_selections: other decisions that differ from Keras.
        wrong_macs: images whose MACs are not those of their selection.
        logits_error: largest difference relative to the image's largest logit.
        probabilities_error: largest difference.
    """

    runtime: str
    threshold: float | None
    images: int
    compared: int
    borderline: int
    flipped: int
    wrong_selections: int
    wrong_macs: int
    logits_error: float
    probabilities_error: float

    @property
    def differences(self) -> list[str]:
        """Lists what is wrong, in words."""
        found = []
        if self.wrong_selections:
            found.append(f"{self.wrong_selections} units are selected differently")
        if self.wrong_macs:
            found.append(f"the MACs of {self.wrong_macs} images are not of their selection")
        for name in ("logits", "probabilities"):
            error = getattr(self, f"{name}_error")
            if not error <= TOLERANCE:
                found.append(f"{name} differ by {error:.1e}, more than {TOLERANCE:.0e}")
        where = "" if self.threshold is None else f" at T={self.threshold:g}"
        return [f"{self.runtime}{where}: {text}" for text in found]


@dataclasses.dataclass(frozen=True)
class VerifyReport:
    """Holds all comparisons of an export with its Keras model."""

    comparisons: tuple[Comparison, ...]

    @property
    def differences(self) -> list[str]:
        found = [text for comparison in self.comparisons for text in comparison.differences]
        if not any(comparison.compared for comparison in self.comparisons):
            found.append(
                "no image could be compared, as each has a decision within rounding of the "
                "threshold: use other thresholds"
            )
        return found

    @property
    def ok(self) -> bool:
        return not self.differences

    @property
    def summary(self) -> list[str]:
        """Returns the report in plain lines."""
        if not self.ok:
            return self.differences
        first = self.comparisons[0]
        error = max(comparison.logits_error for comparison in self.comparisons)
        agreed = f"Keras, {SAVED_MODEL} and {TFLITE} agree on {first.images} images"
        if first.threshold is None:
            return [f"{agreed}: logits within {error:.0e}"]
        thresholds = sum(comparison.runtime == TFLITE for comparison in self.comparisons)
        close = sum(comparison.borderline for comparison in self.comparisons)
        flipped = sum(comparison.flipped for comparison in self.comparisons)
        return [
            f"{agreed} at {thresholds} thresholds: the same branches and MACs, logits within "
            f"{error:.0e}",
            f"{close} decisions are within rounding of the threshold, {flipped} of them came out "
            "differently",
        ]


def verify(
    trained: Trained,
    export: Export,
    images: np.ndarray,
    thresholds: Sequence[float | None],
    progress: Progress = silent,
) -> VerifyReport:
    """Compares an export with the Keras model that it was made from.

    Args:
        images: float32 [images, image_size, image_size, 3] in 0..255.
        thresholds: values of T; one None for a model without routing.
        progress: called with the comparisons done, their number, and what was compared.

    Raises:
        UserError: the images do not fit, or there is no threshold.
    """
    images = export.check_images(images)
    if not len(thresholds):
        raise UserError("at least one threshold is needed")
    saved_model = SavedModelRunner(export.saved_model)
    tflite = TFLiteRunner(export.tflite)
    runtimes: dict[str, Callable[[float | None], Outputs]] = {
        SAVED_MODEL: lambda threshold: _in_batches(
            lambda batch: saved_model.run(batch, threshold), images
        ),
        TFLITE: lambda threshold: tflite.run_all(images, threshold),
    }
    # Image files and uint8 hold whole numbers only; the pixels of a data set are whole.
    whole_numbers = np.round(np.clip(images, 0, 255))

    def at_default(signature: str) -> Callable[[float | None], Outputs]:
        return lambda _: _in_batches(
            lambda batch: saved_model.run_default(signature, batch), whole_numbers
        )

    signatures = {name: at_default(name) for name in WITHOUT_THRESHOLD}
    encoded = {ENCODED: signatures.pop(ENCODED)}
    # An image file of the model's size loses its border where evaluation takes the centre.
    size = export.image_size
    seen = np.stack([fitted(image, size, export.fit) for image in whole_numbers.astype(np.uint8)])
    default = export.default_threshold
    cases = [(threshold, images, runtimes) for threshold in thresholds]
    cases.append((default, whole_numbers, signatures))
    cases.append((default, seen.astype(np.float32), encoded))
    graph = read_graph(trained.model) if export.knob else None
    keras_model = _KerasRunner(trained.model)
    comparisons = []
    for threshold, pixels, runners in cases:
        expected, scores, own = keras_model.run_all(pixels, threshold)
        close = None if graph is None else graph.undecided(own, scores, threshold)
        for name, run in runners.items():
            comparisons.append(
                compare(name, threshold, expected, run(threshold), close, trained.model.cost)
            )
            progress(len(comparisons), sum(len(runners) for _, _, runners in cases), name)
    return VerifyReport(tuple(comparisons))


def compare(
    runtime: str,
    threshold: float | None,
    expected: Outputs,
    actual: Outputs,
    close: np.ndarray | None,
    cost: CostTable,
) -> Comparison:
    """Compares the outputs of two implementations.

    Args:
        expected, actual: with a leading axis of images; `selected` is [images, *units], the first
            of which order them by depth, and None where nothing routes.
        close: bool [images, *units], decisions within rounding of the threshold.
        cost: of the network.
    """
    images = len(expected.logits)
    compared = np.ones(images, bool)
    borderline = flipped = wrong_selections = wrong_macs = 0
    if close is not None:
        differing = np.asarray(expected.selected != actual.selected)
        at_border = differing & close
        # What lies behind a flip sees other features: there, nothing can be said.
        depth_flipped = at_border.any(axis=tuple(range(2, at_border.ndim)))
        behind = np.cumsum(depth_flipped, axis=1) > depth_flipped
        behind = behind.reshape(behind.shape + (1,) * (differing.ndim - 2))
        compared = ~depth_flipped.any(axis=1)
        flops = cost.of_selection(actual.selected)[1].astype(np.float32)
        borderline = int(close.sum())
        flipped = int((at_border & ~behind).sum())
        wrong_selections = int((differing & ~close & ~behind).sum())
        wrong_macs = int((flops != actual.flops).sum())
    scale = np.abs(expected.logits).max(axis=1, keepdims=True)
    logits_error = np.abs(actual.logits - expected.logits) / np.maximum(scale, 1e-30)
    probabilities_error = np.abs(actual.probabilities - expected.probabilities)
    return Comparison(
        runtime=runtime,
        threshold=None if threshold is None else float(threshold),
        images=images,
        compared=int(compared.sum()),
        borderline=borderline,
        flipped=flipped,
        wrong_selections=wrong_selections,
        wrong_macs=wrong_macs,
        logits_error=float(logits_error[compared].max(initial=0)),
        probabilities_error=float(probabilities_error[compared].max(initial=0)),
    )


class _KerasRunner:
    """Runs the Keras model with masked units, as evaluation does."""

    def __init__(self, model: RoutedModel):
        self._routed = bool(model.cost.units)

        def classify(images, threshold=None):
            logits, routing = model(images, threshold=threshold)
            outputs = [logits, tf.nn.softmax(logits)]
            if not self._routed:
                return outputs, (), {}
            own = {name: value for name, value in routing.own.items() if value is not None}
            return [*outputs, routing.selected, routing.macs], routing.scores, own

        size = model.config.image_size
        signature = [tf.TensorSpec([None, size, size, 3], tf.float32)]
        if self._routed:
            signature.append(tf.TensorSpec([], tf.float32))
        # One trace for all batches, the last and smaller one too: tracing takes seconds.
        self._classify = tf.function(classify, autograph=False, input_signature=signature)

    def run_all(
        self, images: np.ndarray, threshold: float | None
    ) -> tuple[Outputs, Any, dict[str, np.ndarray]]:
        """Classifies images, and returns the outputs, the scores, and what `Routing.own` has."""
        given = [tf.constant(threshold, tf.float32)] if self._routed else []
        parts = [self._classify(tf.constant(batch), *given) for batch in _batches(images)]
        outputs, scores, own = keras.tree.map_structure(lambda *of: np.concatenate(of), *parts)
        return Outputs(*outputs), scores, own


def _batches(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


def _in_batches(run: Callable[[np.ndarray], Outputs], images: np.ndarray) -> Outputs:
    return joined([run(batch) for batch in _batches(images)], np.concatenate)
