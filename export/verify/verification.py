"""Compares an export with the Keras model that it was made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from drnet_tf.data.decoding import centre
from drnet_tf.errors import UserError
from drnet_tf.models import DRNet
from drnet_tf.models.cost import CostTable
from drnet_tf.runs.workdir import Trained
from export.folder import names
from export.folder.export import (
    check_files,
    check_source,
    default_threshold,
    read_description,
    resizes_whole,
)
from export.folder.names import saved_model_path
from export.saved_model.runner import ENCODED, WITHOUT_THRESHOLD, SavedModelRunner
from export.tflite.runner import Outputs, TFLiteRunner
from export.verify.borderline import borderline

#: Largest difference of a logit, relative to the largest logit of the image, or of a probability.
TOLERANCE = 1e-4
BATCH = 32
SAVED_MODEL, TFLITE = "SavedModel", ".tflite"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One exported model against Keras at one threshold.

    Args:
        runtime: "SavedModel", ".tflite", or a signature of the SavedModel.
        threshold: T.
        images: how many were classified.
        compared: on how many all was compared strictly: all but those with a flip.
        borderline: decisions that hang on rounding.
        flipped: those of them that came out differently; what follows from them is not compared.
        wrong_selections: other decisions that differ from Keras.
        wrong_flops: images whose FLOPs are not those of their selection.
        logits_error: largest difference relative to the image's largest logit.
        probabilities_error: largest difference.
    """

    runtime: str
    threshold: float
    images: int
    compared: int
    borderline: int
    flipped: int
    wrong_selections: int
    wrong_flops: int
    logits_error: float
    probabilities_error: float

    @property
    def differences(self) -> list[str]:
        """What is wrong, in words."""
        found = []
        if self.wrong_selections:
            found.append(f"{self.wrong_selections} branches are selected differently")
        if self.wrong_flops:
            found.append(f"the FLOPs of {self.wrong_flops} images are not of their selection")
        for name in ("logits", "probabilities"):
            error = getattr(self, f"{name}_error")
            if not error <= TOLERANCE:
                found.append(f"{name} differ by {error:.1e}, more than {TOLERANCE:.0e}")
        return [f"{self.runtime} at T={self.threshold:g}: {text}" for text in found]


@dataclasses.dataclass(frozen=True)
class VerifyReport:
    """All comparisons of an export with its Keras model."""

    comparisons: tuple[Comparison, ...]

    @property
    def differences(self) -> list[str]:
        found = [text for comparison in self.comparisons for text in comparison.differences]
        if not any(comparison.compared for comparison in self.comparisons):
            found.append("no image could be compared: all hang on rounding; use other thresholds")
        return found

    @property
    def ok(self) -> bool:
        return not self.differences

    @property
    def summary(self) -> list[str]:
        """The report in plain lines."""
        if not self.ok:
            return self.differences
        first = self.comparisons[0]
        thresholds = sum(comparison.runtime == TFLITE for comparison in self.comparisons)
        error = max(comparison.logits_error for comparison in self.comparisons)
        hanging = sum(comparison.borderline for comparison in self.comparisons)
        flipped = sum(comparison.flipped for comparison in self.comparisons)
        return [
            f"Keras, {SAVED_MODEL} and {TFLITE} agree on {first.images} images at {thresholds} "
            f"thresholds: the same branches and FLOPs, logits within {error:.0e}",
            f"{hanging} decisions hang on rounding, {flipped} of them came out differently",
        ]


def verify(
    trained: Trained,
    export_dir: Path | str,
    images: np.ndarray,
    thresholds: Sequence[float],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> VerifyReport:
    """Compares an export with the Keras model that it was made from.

    Args:
        images: float32 [images, image_size, image_size, 3] in 0..255.
        thresholds: values of T.
        progress: called with the number of comparisons done and of all.

    Raises:
        UserError: the files are not those of an export of this model, or the images do not fit.
    """
    at_threshold = default_threshold(export_dir)
    check_files(export_dir)
    check_source(export_dir, trained)
    size = trained.model.config.image_size
    if np.ndim(images) != 4 or np.shape(images)[1:] != (size, size, 3) or not len(images):
        raise UserError(f"images must be [images, {size}, {size}, 3], not {list(np.shape(images))}")
    if not len(thresholds):
        raise UserError("at least one threshold is needed")
    images = np.asarray(images, np.float32)
    saved_model = SavedModelRunner(saved_model_path(export_dir))
    tflite = TFLiteRunner(Path(export_dir, names.TFLITE_FILE))
    runtimes: dict[str, Callable[[float], Outputs]] = {
        SAVED_MODEL: lambda threshold: _in_batches(
            lambda batch: saved_model.run(batch, threshold), images
        ),
        TFLITE: lambda threshold: tflite.run_all(images, threshold),
    }
    # Image files and uint8 hold whole numbers only; the pixels of a data set are whole.
    whole_numbers = np.round(np.clip(images, 0, 255))

    def at_default(signature: str) -> Callable[[float], Outputs]:
        return lambda _: _in_batches(
            lambda batch: saved_model.run_default(signature, batch), whole_numbers
        )

    signatures = {name: at_default(name) for name in WITHOUT_THRESHOLD}
    encoded = {ENCODED: signatures.pop(ENCODED)}
    # An image file of the model's size loses its border where evaluation takes the centre.
    whole = resizes_whole(read_description(export_dir))
    seen = np.stack([centre(image.astype(np.uint8), size, whole=whole) for image in whole_numbers])
    cases = [(threshold, images, runtimes) for threshold in thresholds]
    cases.append((at_threshold, whole_numbers, signatures))
    cases.append((at_threshold, seen.astype(np.float32), encoded))
    keras_model = _KerasRunner(trained.model)
    comparisons = []
    for threshold, pixels, runners in cases:
        expected, recalibrated = keras_model.run_all(pixels, threshold)
        close = borderline(recalibrated, threshold)
        for name, run in runners.items():
            comparisons.append(
                compare(name, threshold, expected, run(threshold), close, trained.model.cost)
            )
            progress(len(comparisons), sum(len(runners) for _, _, runners in cases))
    return VerifyReport(tuple(comparisons))


def compare(
    runtime: str,
    threshold: float,
    expected: Outputs,
    actual: Outputs,
    close: np.ndarray,
    cost: CostTable,
) -> Comparison:
    """Compares the outputs of two implementations.

    Args:
        expected, actual: with a leading axis of images.
        close: bool [images, cells, connections, branches], decisions that hang on rounding.
        cost: of the network.
    """
    differing = expected.selected != actual.selected
    flipped = differing & close
    # Cells behind a flip see other features: there, nothing can be said.
    cell_flipped = flipped.any(axis=(2, 3))
    behind = np.cumsum(cell_flipped, axis=1) > cell_flipped
    wrong = differing & ~close & ~behind[:, :, None, None]
    compared = ~cell_flipped.any(axis=1)
    flops = cost.of_selection(actual.selected)[1].astype(np.float32)
    scale = np.abs(expected.logits).max(axis=1, keepdims=True)
    logits_error = np.abs(actual.logits - expected.logits) / np.maximum(scale, 1e-30)
    probabilities_error = np.abs(actual.probabilities - expected.probabilities)
    return Comparison(
        runtime=runtime,
        threshold=float(threshold),
        images=len(compared),
        compared=int(compared.sum()),
        borderline=int(close.sum()),
        flipped=int(flipped[~behind].sum()),
        wrong_selections=int(wrong.sum()),
        wrong_flops=int((flops != actual.flops).sum()),
        logits_error=float(logits_error[compared].max(initial=0)),
        probabilities_error=float(probabilities_error[compared].max(initial=0)),
    )


class _KerasRunner:
    """Runs the Keras model with masked branches, as evaluation does."""

    def __init__(self, model: DRNet):
        def classify(images, threshold):
            logits, intermediates = model(images, threshold=threshold)
            return (
                logits,
                tf.nn.softmax(logits),
                intermediates["selected"],
                intermediates["macs"],
                intermediates["recalibrated"],
            )

        size = model.config.image_size
        # One trace for all batches, the last and smaller one too: tracing takes seconds.
        self._classify = tf.function(
            classify,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, size, size, 3], tf.float32),
                tf.TensorSpec([], tf.float32),
            ],
        )

    def run_all(self, images: np.ndarray, threshold: float) -> tuple[Outputs, np.ndarray]:
        """The outputs, and the recalibrated weights [images, cells, connections, branches]."""
        recalibrated = []

        def run(batch):
            values = self._classify(tf.constant(batch), tf.constant(threshold, tf.float32))
            *outputs, weights = (value.numpy() for value in values)
            recalibrated.append(weights)
            return Outputs(*outputs)

        return _in_batches(run, images), np.concatenate(recalibrated)


def _in_batches(run: Callable[[np.ndarray], Outputs], images: np.ndarray) -> Outputs:
    parts = [run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    names = [field.name for field in dataclasses.fields(Outputs)]
    return Outputs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
