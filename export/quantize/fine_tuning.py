"""Trains the weights of a network a little further, with the rounding of its int8 file in the way.

The teacher is the network itself, in float32; the pupil is the same with what its int8 file rounds
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
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf

from drnet_tf.errors import UserError
from export.graphs.drnet.forward import forward_with_recalibrated
from export.graphs.drnet.named_parts import change_weights
from export.graphs.drnet.network import Network
from export.graphs.parts import Conv, DepthwisePointwise
from export.graphs.plan import DENSE
from export.quantize.calibration import Ranges
from export.quantize.rounding import round_activations, round_weights

#: Keeps the logarithm of a probability of zero finite.
_SMALLEST = 1e-9


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """How to fine-tune.

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
    network: Network,
    model: bytes,
    ranges: Ranges,
    batches: Iterable[np.ndarray],
    settings: FineTuning,
    thresholds: Sequence[float],
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Network:
    """The network with weights that suffer less from the rounding.

    Args:
        network: as `read_weights` made it.
        model: the float32 .tflite of it.
        ranges: of the tensors of that file, by name, as its int8 file has them.
        batches: training images, float32 [batch, image_size, image_size, 3] in 0..255, at least as
            many batches as steps.
        thresholds: values of T, which take turns.
        progress: called with the steps done, their number, and the loss.
    """
    pupil = Pupil(network, model, ranges)
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
    """A network whose weights are variables and which rounds as its int8 file does.

    Args:
        network, model, ranges: as in `fine_tune`.
    """

    def __init__(self, network: Network, model: bytes, ranges: Ranges):
        self.teacher = network
        self.variables: list[keras.Variable] = []
        self.network = _change_arrays(round_activations(network, model, ranges), self._variable)

    def _variable(self, array: np.ndarray) -> tf.Variable:
        self.variables.append(keras.Variable(array))
        return self.variables[-1].value

    def loss(self, images: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
        """The loss above, a scalar, of images [batch, image_size, image_size, 3] at one T, [1]."""
        expected, routing = forward_with_recalibrated(self.teacher, DENSE, images, threshold)
        actual, rounded = forward_with_recalibrated(
            round_weights(self.network), DENSE, images, threshold
        )
        of_routing = [_divergence(*pair) for pair in zip(routing, rounded, strict=True)]
        of_classes = _divergence(expected["probabilities"], actual["probabilities"])
        return of_classes + tf.add_n(of_routing) / len(of_routing)

    def tuned(self) -> Network:
        """The network with the present weights, in float32 and without rounding."""
        weights = iter([variable.numpy() for variable in self.variables])
        return _change_arrays(self.teacher, lambda array: next(weights))


def _divergence(expected: tf.Tensor, actual: tf.Tensor) -> tf.Tensor:
    """KL(expected || actual) of probabilities [..., choices], the mean over all but choices."""
    expected, actual = expected + _SMALLEST, actual + _SMALLEST
    ratio = tf.math.log(expected) - tf.math.log(actual)
    return tf.reduce_mean(tf.reduce_sum(expected * ratio, axis=-1))


def _change_arrays(network: Network, change: Callable) -> Network:
    """The network with each array that is tuned replaced, always in the same order."""

    def conv(weights: Conv) -> Conv:
        kernel, bias = change(weights.kernel), change(weights.bias)
        return dataclasses.replace(weights, kernel=kernel, bias=bias)

    def depthwise(weights: DepthwisePointwise) -> DepthwisePointwise:
        return dataclasses.replace(weights, depthwise=change(weights.depthwise))

    changed = change_weights(network, conv, depthwise)
    dense = network.classifier
    classifier = dataclasses.replace(dense, kernel=change(dense.kernel), bias=change(dense.bias))
    return dataclasses.replace(changed, classifier=classifier)
