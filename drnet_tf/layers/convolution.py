"""Convolutions as every part of a DRNet uses them: no bias, since normalization follows.

Initial weights are uniform in +-1/sqrt(n), n being the number of inputs of one output.
"""

from __future__ import annotations

import keras


def convolution(channels: int, kernel_size: int, strides: int = 1, padding="same", **kwargs):
    """Makes a convolution layer."""
    initializer = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    return keras.layers.Conv2D(
        channels,
        kernel_size,
        strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=initializer,
        **kwargs,
    )


def pointwise_conv(channels: int, strides: int = 1, **kwargs) -> keras.layers.Conv2D:
    """Makes a 1 x 1 convolution layer."""
    return convolution(channels, 1, strides, **kwargs)


def depthwise_conv(kernel_size: int, strides: int = 1, **kwargs) -> keras.layers.DepthwiseConv2D:
    """Makes a depthwise convolution layer."""
    return keras.layers.DepthwiseConv2D(
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=depthwise_initializer(kernel_size),
        **kwargs,
    )


def depthwise_initializer(kernel_size: int):
    # Keras's own scaling counts the channels of a depthwise kernel as inputs too.
    return keras.initializers.RandomUniform(-1 / kernel_size, 1 / kernel_size)


def pointwise_initializer(channels: int):
    return keras.initializers.RandomUniform(-(channels**-0.5), channels**-0.5)
