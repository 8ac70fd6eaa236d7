"""Batch normalization that is fast at any channel count, for one tensor or a stack of them."""

from __future__ import annotations

import keras
from keras import ops

MOMENTUM = 0.9
EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="drnet_tf")
class BatchNorm(keras.layers.Layer):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, over all but the last axis.

    The same function and weights as `keras.layers.BatchNormalization`; with `groups` that many
    normalizations at once, each with weights of its own.

    Args:
        groups: None, or the size of the first axis.
        momentum: share of the old moving moments that a training step keeps.
        epsilon: added to the variance.

    Call arguments:
        x: float [batch, height, width, channels], or [groups, batch, height, width, channels].
        training: use the batch's moments and update the moving ones.

    Returns:
        A tensor of the shape and type of `x`.
    """

    def __init__(
        self,
        groups: int | None = None,
        momentum: float = MOMENTUM,
        epsilon: float = EPSILON,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.groups = groups
        self.momentum = momentum
        self.epsilon = epsilon
        #: Whether the moments are those of all replicas under tf.distribute (JAX needs no such
        #: switch). It costs operations, hence off until there is more than one replica.
        self.synchronized = False
        #: Whether evaluation uses and follows the batch's moments, as training does; see
        #: drnet_tf/training/recalibration.py.
        self.recalibrating = False

    def build(self, input_shape):
        channels = input_shape[-1]
        shape = (channels,) if self.groups is None else (self.groups, channels)
        # In float32 under mixed precision: bfloat16 cannot average small changes.
        options = dict(shape=shape, autocast=False, dtype="float32")
        self.gamma = self.add_weight(initializer="ones", name="gamma", **options)
        self.beta = self.add_weight(initializer="zeros", name="beta", **options)
        options["trainable"] = False
        self.moving_mean = self.add_weight(initializer="zeros", name="moving_mean", **options)
        self.moving_variance = self.add_weight(
            initializer="ones", name="moving_variance", **options
        )

    def call(self, x, training=False):
        if training or self.recalibrating:
            mean, variance = moments(x, self.groups, self.synchronized)
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving + (batch - moving) * (1 - self.momentum))
        else:
            mean, variance = self.moving_mean, self.moving_variance
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return scale_and_offset(x, scale, self.beta - mean * scale)

    def get_config(self):
        return {
            **super().get_config(),
            "groups": self.groups,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }


# What follows works on rows of width * channels numbers instead of channels: a row of 15 numbers
# leaves most of a vector register empty. The gradients are spelled out for the same reason, and
# because what automatic differentiation would build is several times as many operations.


def moments(x, groups=None, synchronized=False):
    """Mean and variance, float32 [channels] or [groups, channels], of [groups?, b, h, w, c]."""
    width, channels = x.shape[-2:]
    group = () if groups is None else (groups,)
    means = _row_means(ops.reshape(x, (*group, -1, width * channels)))
    means = ops.sum(ops.reshape(means, (2, *group, width, channels)), axis=-2) / width
    if synchronized:
        # The mean over replicas: Keras offers it as the mean of synchronized moments.
        means, _ = ops.moments(means[None], axes=[0], synchronized=True)
    mean, mean_square = ops.unstack(means)
    return mean, ops.relu(mean_square - ops.square(mean))


def scale_and_offset(x, scale, offset):
    """x * scale + offset for scale and offset of [channels] or [groups, channels]."""
    width, channels = x.shape[-2:]
    rows = ops.reshape(x, (*scale.shape[:-1], -1, width * channels))
    repeats = (1,) * (len(scale.shape) - 1) + (width,)
    scale, offset = (ops.tile(v, repeats) for v in (scale, offset))
    return ops.reshape(_scale_and_offset_rows(rows, scale, offset), ops.shape(x))


@ops.custom_gradient
def _row_means(rows):
    """Means over the last axis but one of rows [..., n, m] and their squares, f32 [2, ..., m]."""
    wide = ops.cast(rows, "float32")
    count = ops.cast(ops.shape(rows)[-2], "float32")
    means = ops.stack([ops.sum(wide, axis=-2), ops.sum(ops.square(wide), axis=-2)]) / count

    def gradient(upstream):
        constant, slope = ops.unstack(ops.cast(upstream / count, rows.dtype))
        return rows * ops.expand_dims(2.0 * slope, -2) + ops.expand_dims(constant, -2)

    return means, gradient


@ops.custom_gradient
def _scale_and_offset_rows(rows, scale, offset):
    """rows [..., n, m] times scale plus offset, float32 [..., m] each."""
    narrow = ops.expand_dims(ops.cast(scale, rows.dtype), -2)
    result = rows * narrow + ops.expand_dims(ops.cast(offset, rows.dtype), -2)

    def gradient(upstream):
        wide = ops.cast(upstream, "float32")
        d_scale = ops.sum(wide * ops.cast(rows, "float32"), axis=-2)
        return upstream * narrow, d_scale, ops.sum(wide, axis=-2)

    return result, gradient
