"""Batch normalization of 1x1 convolutions, folded into them in training too."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.batch_norm import BatchNorm


@keras.saving.register_keras_serializable(package="drnet_tf")
class PointwiseNorm(BatchNorm):
    """The normalization of y = x K, for each member, as a kernel K' and an offset: y' = x K' + o.

    The moments of y follow from those of x, with C the covariance of its channels:

        mean(y) = mean(x) K,    var(y) = diag(K^T C K)

    so that y itself is never computed, read or kept: one matrix product takes the place of several
    passes over an image.

    Args:
        members: number of convolutions, each with weights of its own.
        momentum, epsilon: see `BatchNorm`.

    Call arguments:
        xs: one tensor for each member, float [batch, height, width, channels].
        kernels: float32 [members, channels, outputs].
        training: use the batch's moments and update the moving ones.

    Returns:
        The kernels K', float32 [members, channels, outputs], and offsets o [members, outputs].
    """

    def __init__(self, members: int, **kwargs):
        super().__init__(autocast=False, **kwargs)  # kernels are folded in float32
        self.members = members

    def weight_shape(self, channels: int) -> tuple[int, ...]:
        return (self.members, channels)

    def call(self, xs, kernels, training=False):
        kernels = ops.convert_to_tensor(kernels)
        mean = variance = None
        if training or self.recalibrating:
            channels = kernels.shape[1]
            moments = ops.stack([_moments(ops.reshape(x, (-1, *x.shape[2:]))) for x in xs])
            moments = self.over_replicas(moments)
            products, x_mean = moments[:, :channels], moments[:, channels:]
            covariance = products - ops.transpose(x_mean, (0, 2, 1)) * x_mean
            mean = ops.matmul(x_mean, kernels)[:, 0]
            variance = ops.relu(ops.sum(kernels * ops.matmul(covariance, kernels), axis=1))
        scale, offset = self.scale_and_offset(mean, variance)
        return kernels * scale[:, None], offset

    def get_config(self):
        return {**super().get_config(), "members": self.members}


@ops.custom_gradient
def _moments(x):
    """The mean of x_i x_j over all pixels, and in one more row that of x_i.

    Args:
        x: [rows, width, channels].

    Returns:
        float32 [channels + 1, channels].
    """
    width, channels = x.shape[-2:]
    pixels = ops.reshape(x, (-1, channels))
    wide = ops.cast(pixels, "float32")
    products = ops.matmul(ops.transpose(wide), wide)
    # Rows of width * channels numbers: see batch_norm.
    sums = ops.sum(ops.reshape(wide, (-1, width * channels)), axis=0)
    sums = ops.sum(ops.reshape(sums, (width, channels)), axis=0, keepdims=True)
    count = ops.cast(ops.shape(pixels)[0], "float32")

    def gradient(upstream):
        upstream = upstream / count
        d_products, d_mean = upstream[:channels], upstream[channels:]
        slope = ops.cast(d_products + ops.transpose(d_products), x.dtype)
        rows = ops.reshape(ops.matmul(pixels, slope), (-1, width * channels))
        rows = rows + ops.tile(ops.cast(d_mean, x.dtype), (1, width))
        return ops.reshape(rows, ops.shape(x))

    return ops.concatenate([products, sums]) / count, gradient
