"""Stems: from the image to the two inputs of the first cell."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.convolution import convolution
from drnet_tf.layers.cost import Cost
from drnet_tf.layers.geometry import STEM_MULTIPLIER, half

IMAGE_CHANNELS = 3


@keras.saving.register_keras_serializable(package="drnet_tf")
class CifarStem(keras.layers.Layer):
    """Applies a 3x3 convolution to 3C channels and batch normalization.

    Args:
        channels: the network's C.

    Call arguments:
        x: float [batch, height, width, 3], normalized.

    Returns:
        The same float [batch, height, width, 3C] twice.
    """

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        policy = self.dtype_policy
        self.convolution = convolution(
            STEM_MULTIPLIER * channels, 3, name="convolution", dtype=policy
        )
        self.norm = BatchNorm(name="norm", dtype=policy)

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.norm.build(self.convolution.compute_output_shape(input_shape))

    def call(self, x, training=False):
        x = self.norm(self.convolution(x), training=training)
        return x, x

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable(package="drnet_tf")
class ImageNetStem(keras.layers.Layer):
    """Applies three 3x3 convolutions with stride 2, as in DARTS.

    Args:
        channels: the network's C.

    Call arguments:
        x: float [batch, height, width, 3], normalized.

    Returns:
        float [batch, height / 4, width / 4, C] and [batch, height / 8, width / 8, C].
    """

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        policy = self.dtype_policy
        self.convolutions = [
            convolution(width, 3, 2, name=f"convolution_{i}", dtype=policy)
            for i, width in enumerate(_imagenet_widths(channels))
        ]
        self.norms = [BatchNorm(name=f"norm_{i}", dtype=policy) for i in range(3)]

    def build(self, input_shape):
        for layer, norm in zip(self.convolutions, self.norms, strict=True):
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
            norm.build(input_shape)

    def call(self, x, training=False):
        x = ops.relu(self.norms[0](self.convolutions[0](x), training=training))
        quarter = self.norms[1](self.convolutions[1](x), training=training)
        eighth = self.convolutions[2](ops.relu(quarter))
        return quarter, self.norms[2](eighth, training=training)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


def cost(stem: str, channels: int, image_size: int) -> Cost:
    """Counts the stem of that name."""
    if stem == "cifar":
        steps = [(IMAGE_CHANNELS, STEM_MULTIPLIER * channels, image_size)]
    else:
        steps, inputs, size = [], IMAGE_CHANNELS, image_size
        for width in _imagenet_widths(channels):
            size = half(size)
            steps.append((inputs, width, size))
            inputs = width
    total = Cost(0, 0)
    for inputs, width, size in steps:
        weights = 9 * inputs * width
        total += Cost(weights + 2 * width, (weights + width) * size**2)
    return total


def _imagenet_widths(channels: int) -> tuple[int, int, int]:
    return channels // 2, channels, channels
