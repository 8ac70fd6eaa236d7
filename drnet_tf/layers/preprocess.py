"""What brings a cell's inputs to its channels and size, as in DARTS."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.convolution import pointwise_conv
from drnet_tf.layers.cost import Cost
from drnet_tf.layers.geometry import half
from drnet_tf.layers.subsampling import subsample


@keras.saving.register_keras_serializable(package="drnet_tf")
class Preprocess(keras.layers.Layer):
    """Applies ReLU, 1x1 convolution, batch normalization.

    With `factorized` the image is halved too: half of the channels are computed from the even
    pixels, the other half from the odd ones, so that no input is ignored.

    Args:
        channels: of the output.
        factorized: whether to halve height and width.

    Call arguments:
        x: float [batch, height, width, any].

    Returns:
        float [batch, height, width, channels], or half of that height and width.
    """

    def __init__(self, channels: int, factorized: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.factorized = factorized

    def build(self, input_shape):
        policy = self.dtype_policy
        parts = [self.channels // 2, self.channels - self.channels // 2]
        if not self.factorized:
            parts = [self.channels]
        self.pointwise = [
            pointwise_conv(part, name=f"pointwise_{i}", dtype=policy)
            for i, part in enumerate(parts)
        ]
        for convolution in self.pointwise:
            convolution.build(input_shape)
        self.norm = BatchNorm(name="norm", dtype=policy)
        self.norm.build((*input_shape[:-1], self.channels))

    def call(self, x, training=False):
        x = ops.relu(x)
        if self.factorized:
            even, odd = self.pointwise
            x = ops.concatenate([even(subsample(x, 2)), odd(odd_pixels(x))], axis=-1)
        else:
            x = self.pointwise[0](x)
        return self.norm(x, training=training)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "factorized": self.factorized}


def odd_pixels(x):
    """Returns x[:, 1::2, 1::2], with a row and column of zeros where the size is odd."""
    height, width = x.shape[1:3]
    # One more row and column before all others make the odd pixels even ones. Padding comes first
    # because its gradient is fast.
    x = ops.pad(x, [[0, 0], [1, height % 2], [1, width % 2], [0, 0]])
    return subsample(x, 2)[:, 1:, 1:, :]


def cost(channels_in: int, channels: int, size_in: int, factorized: bool) -> Cost:
    """Counts a `Preprocess` that reads `channels_in` channels of height `size_in`."""
    size = half(size_in) if factorized else size_in
    params = channels_in * channels
    return Cost(params + 2 * channels, (params + channels) * size**2)
