"""Batch normalization of 1x1 convolutions, folded into them in training too."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.batch_norm import BatchNorm


@keras.saving.register_keras_serializable(package="drnet_tf")
class PointwiseNorm(BatchNorm):
    """Folds the normalization of y = x K, for each member, into the kernel: y' = x K' + o.

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
        if training or self.follows_batches:
            batch, height, width, channels = ops.shape(xs[0])
            count = ops.cast(batch * height * width, "float32")
            sums = [_sums(ops.reshape(x, (-1, width, channels))) for x in xs]
            products, rows = (ops.stack(part) for part in zip(*sums, strict=True))
            products = self.over_replicas(products / count)
            x_sum = ops.sum(ops.reshape(rows, (-1, width, channels)), axis=1, keepdims=True)
            x_mean = self.over_replicas(x_sum / count)
            covariance = products - ops.transpose(x_mean, (0, 2, 1)) * x_mean
            mean = ops.squeeze(ops.matmul(x_mean, kernels), 1)
            variance = ops.relu(ops.sum(kernels * ops.matmul(covariance, kernels), axis=1))
        scale, offset = self.scale_and_offset(mean, variance)
        return kernels * ops.expand_dims(scale, 1), offset

    def get_config(self):
        return {**super().get_config(), "members": self.members}


@ops.custom_gradient
def _sums(x):
    """Sums products and values over the pixels of x, [rows, width, channels].

    Returns:
        Those of x_i x_j over all pixels, float32 [channels, channels], and those of x over all
        rows, float32 [width * channels]: long ones for the reason that batch_norm gives.
    """
    width, channels = x.shape[-2:]
    pixels = ops.reshape(x, (-1, channels))
    wide = ops.cast(pixels, "float32")
    products = ops.matmul(ops.transpose(wide), wide)

    def gradient(*upstream):
        # Keras hands on what its backend gives: two arguments or a pair.
        d_products, d_rows = upstream if len(upstream) == 2 else upstream[0]
        # Symmetric, since a variance is a quadratic form of the products: both uses give the same.
        d_pixels = ops.matmul(pixels, ops.cast(2.0 * d_products, x.dtype))
        d_x = ops.reshape(d_pixels, (-1, width * channels)) + ops.cast(d_rows, x.dtype)
        return ops.reshape(d_x, x.shape)

    return (products, ops.sum(ops.reshape(wide, (-1, width * channels)), axis=0)), gradient
