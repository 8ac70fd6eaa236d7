"""Batch normalization that is fast at any channel count."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.devices import Devices

MOMENTUM = 0.9
EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="drnet_tf")
class BatchNorm(keras.layers.Layer):
    """Normalizes: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, per channel.

    The same function and weights as `keras.layers.BatchNormalization`.

    Args:
        momentum: share of the old moving moments that a training step keeps.
        epsilon: added to the variance.

    Call arguments:
        x: float [batch, height, width, channels].
        training: use the batch's moments and update the moving ones.

    Returns:
        A tensor of the shape and type of `x`.
    """

    def __init__(self, momentum: float = MOMENTUM, epsilon: float = EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        #: Whether the moments are those of all replicas, see `Devices`.
        self.synchronized = False
        #: Whether it is written as converters need it, see `Devices`.
        self.by_channel = False
        #: Whether evaluation uses and follows the batch's moments, as training does; see
        #: drnet_tf/training/norm_moments.py.
        self.follows_batches = False

    def build(self, input_shape):
        # In float32 under mixed precision: bfloat16 cannot average small changes.
        options = dict(shape=self.weight_shape(input_shape[-1]), autocast=False, dtype="float32")
        self.gamma = self.add_weight(initializer="ones", name="gamma", **options)
        self.beta = self.add_weight(initializer="zeros", name="beta", **options)
        options["trainable"] = False
        self.moving_mean = self.add_weight(initializer="zeros", name="moving_mean", **options)
        self.moving_variance = self.add_weight(
            initializer="ones", name="moving_variance", **options
        )

    def adapt_to(self, devices: Devices) -> None:
        """Takes the moments of all replicas where there are several, or suits a converter."""
        self.synchronized = devices.synchronized
        self.by_channel = devices.converted

    def weight_shape(self, channels: int) -> tuple[int, ...]:
        return (channels,)

    def call(self, x, training=False):
        mean = variance = None
        if training or self.follows_batches:
            mean, mean_square = ops.unstack(self.over_replicas(_moments(x)))
            variance = ops.relu(mean_square - ops.square(mean))
        scale, offset = self.scale_and_offset(mean, variance)
        if self.by_channel:
            return x * ops.cast(scale, x.dtype) + ops.cast(offset, x.dtype)
        return _scale_and_offset(x, scale, offset)

    def scale_and_offset(self, mean=None, variance=None):
        """Returns what to multiply by and then to add, float32 of the weights' shape each.

        Args:
            mean, variance: the batch's moments, by which the moving ones move; None for those.
        """
        if mean is None:
            mean, variance = self.moving_mean, self.moving_variance
        else:
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving + (batch - moving) * (1 - self.momentum))
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return scale, self.beta - mean * scale

    def over_replicas(self, moments):
        """Averages moments over all replicas, each of which has an equal share."""
        if not self.synchronized:
            return moments
        # Keras offers it as the mean of synchronized moments.
        mean, _ = ops.moments(moments[None], axes=[0], synchronized=True)
        return mean

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


# What follows works on rows of width * channels numbers instead of channels: a row of 15 numbers
# leaves most of a vector register empty. The gradients are spelled out for the same reason, and
# because what automatic differentiation would build is several times as many operations.


def _moments(x):
    """Averages x and x squared over [batch, height, width, channels]: float32 [2, channels]."""
    width, channels = x.shape[-2:]
    means = _row_means(ops.reshape(x, (-1, width * channels)))
    return ops.mean(ops.reshape(means, (2, width, channels)), axis=1)


def _scale_and_offset(x, scale, offset):
    """Computes x * scale + offset for scale and offset of [channels]."""
    width, channels = x.shape[-2:]
    rows = ops.reshape(x, (-1, width * channels))
    scale, offset = ops.tile(scale, (width,)), ops.tile(offset, (width,))
    return ops.reshape(_scale_and_offset_rows(rows, scale, offset), ops.shape(x))


@ops.custom_gradient
def _row_means(rows):
    """Averages rows [n, m] and their squares over the first axis: float32 [2, m]."""
    wide = ops.cast(rows, "float32")
    count = ops.cast(ops.shape(rows)[0], "float32")
    means = ops.stack([ops.sum(wide, axis=0), ops.sum(ops.square(wide), axis=0)]) / count

    def gradient(upstream):
        constant, slope = ops.unstack(ops.cast(upstream / count, rows.dtype))
        return rows * (2.0 * slope) + constant

    return means, gradient


@ops.custom_gradient
def _scale_and_offset_rows(rows, scale, offset):
    """Computes rows [n, m] times scale plus offset, float32 [m] each."""
    narrow = ops.cast(scale, rows.dtype)
    result = rows * narrow + ops.cast(offset, rows.dtype)

    def gradient(upstream):
        wide = ops.cast(upstream, "float32")
        d_scale = ops.sum(wide * ops.cast(rows, "float32"), axis=0)
        return upstream * narrow, d_scale, ops.sum(wide, axis=0)

    return result, gradient
