"""Trains the weights of a DRNet a little further, with the rounding of its int8 file in the way.

The teacher is the graph itself, in float32; the pupil is the same with what its int8 file rounds
rounded (export/quantize/rounding.py). The loss is

    KL(teacher's || pupil's class probabilities)
    + mean over cells and connections of KL(teacher's || pupil's recalibrated weights)

over a batch of training images without their labels: the file is to say what the network says, not
to be trained further. The second term keeps the routing, which a small change of a node can tip.

The routers stay as they are. So does a layer of one's own inside of a branch, which the pupil does
not round, although the file does. The optimizer is Adam, its rate a cosine down to 0. The rate is
small because the error is: at ten times the default and without the second term, 180 steps on
CIFAR-10 led away from the teacher.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

from drnet_tf.errors import UserError
from drnet_tf.progress import Progress, silent
from export.graphs.drnet.forward import DRNetGraph
from export.graphs.in_float import is_in_float
from export.graphs.parts import Part
from export.graphs.plan import DENSE
from export.quantize.calibration import Ranges
from export.quantize.rounding import round_activations, round_weights

#: Keeps the logarithm of a probability of zero finite.
_SMALLEST = 1e-9


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """Says how to fine-tune.

    Args:
        steps: of one batch each.
        learning_rate: of the first step.
        batch_size: images of a step.

    Raises:
        UserError: a value is out of its range.
    """

    steps: int = 300
    learning_rate: float = 1e-5
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"{name} of fine-tuning must be 1 or more, not {getattr(self, name)}"
                )
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UserError(
                f"learning_rate of fine-tuning must be a number above 0, not {self.learning_rate}"
            )


def fine_tune(
    graph: DRNetGraph,
    model: bytes,
    ranges: Ranges,
    batches: Iterable[np.ndarray],
    settings: FineTuning,
    thresholds: Sequence[float],
    progress: Progress = silent,
) -> DRNetGraph:
    """Returns the graph with weights that suffer less from the rounding.

    Args:
        graph: as it was converted.
        model: the float32 .tflite of it.
        ranges: of the tensors of that file, by name, as its int8 file has them.
        batches: training images, float32 [batch, image_size, image_size, 3] in 0..255, at least as
            many batches as steps.
        thresholds: values of T, which take turns.
        progress: called with the steps done, their number, and the loss.
    """
    pupil = Pupil(graph, model, ranges)
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(pupil.variables)

    @tf.function(autograph=False, reduce_retracing=True)
    def step(images, threshold):
        with tf.GradientTape() as tape:
            loss = pupil.loss(images, threshold)
        gradients = tape.gradient(loss, [variable.value for variable in pupil.variables])
        optimizer.apply(gradients, pupil.variables)
        return loss

    pairs = zip(
        itertools.cycle(thresholds), itertools.islice(batches, settings.steps), strict=False
    )
    for done, (threshold, images) in enumerate(pairs, 1):
        loss = step(tf.constant(images, tf.float32), tf.constant([threshold], tf.float32))
        progress(done, settings.steps, f"loss {float(loss):.5f}")
    return pupil.tuned()


class Pupil:
    """Makes the weights of a graph variables, and rounds as its int8 file does.

    Args:
        graph, model, ranges: as in `fine_tune`.
    """

    def __init__(self, graph: DRNetGraph, model: bytes, ranges: Ranges):
        self.teacher = graph
        self._variables: dict[tuple[str, str], keras.Variable] = {}
        self.graph = round_activations(graph, model, ranges).map(self._make_variables)

    @property
    def variables(self) -> list[keras.Variable]:
        """Returns what is trained."""
        return list(self._variables.values())

    def _make_variables(self, name: str, part: Part) -> Part:
        if is_in_float(name):
            return part
        arrays = {key: value for key, value in vars(part).items() if isinstance(value, np.ndarray)}
        made = {(name, key): keras.Variable(array) for key, array in arrays.items()}
        self._variables |= made
        return dataclasses.replace(part, **{key: made[name, key].value for key in arrays})

    def loss(self, images: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
        """Computes the loss, a scalar, of images [batch, image_size, image_size, 3] at T, [1]."""
        expected, routing = self.teacher.forward_and_route(images, threshold, DENSE)
        actual, rounded = round_weights(self.graph).forward_and_route(images, threshold, DENSE)
        of_routing = [_divergence(*pair) for pair in zip(routing, rounded, strict=True)]
        of_classes = _divergence(expected["probabilities"], actual["probabilities"])
        return of_classes + tf.add_n(of_routing) / len(of_routing)

    def tuned(self) -> DRNetGraph:
        """Returns the graph with the present weights, in float32 and without rounding."""

        def read(name: str, part: Part) -> Part:
            items = self._variables.items()
            arrays = {key: variable.numpy() for (of, key), variable in items if of == name}
            return dataclasses.replace(part, **arrays) if arrays else part

        return self.teacher.map(read)


def _divergence(expected: tf.Tensor, actual: tf.Tensor) -> tf.Tensor:
    """Computes KL(expected || actual) of probabilities [..., choices], the mean over the rest."""
    expected, actual = expected + _SMALLEST, actual + _SMALLEST
    ratio = tf.math.log(expected) - tf.math.log(actual)
    return tf.reduce_mean(tf.reduce_sum(expected * ratio, axis=-1))
