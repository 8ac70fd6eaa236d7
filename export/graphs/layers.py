"""The parts of a DRNet at inference, on weights with folded normalization.

Weights go into the graph as constants made on the spot: a constant made outside of a tf.cond would
be an operand of the TFLite IF, and the convolution that reads it would not be accelerated.
Tensors are float32 [batch, height, width, channels].
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from export.graphs.drnet.network import Router
from export.graphs.in_float import EVERY_NTH_PIXEL
from export.graphs.parts import Conv, Dense, Depthwise, DepthwisePointwise, Separable


def conv(x: tf.Tensor, weights: Conv, stride: int = 1) -> tf.Tensor:
    """Convolves with "same" padding and adds the bias."""
    x = _rounded(x, weights.rounding.input)
    x = tf.nn.conv2d(x, weights.kernel, stride, "SAME") + weights.bias
    return _rounded(x, weights.rounding.output)


def dense(x: tf.Tensor, weights: Dense) -> tf.Tensor:
    """Computes [batch, outputs] of [batch, inputs]."""
    return tf.matmul(x, weights.kernel) + weights.bias


def depthwise(x: tf.Tensor, weights: Depthwise, stride: int = 1) -> tf.Tensor:
    """Convolves each channel alone, with "same" padding."""
    x = _rounded(x, weights.rounding.input)
    x = tf.nn.depthwise_conv2d(x, weights.kernel, [1, stride, stride, 1], "SAME")
    return _rounded(x, weights.rounding.output)


def depthwise_pointwise(x: tf.Tensor, weights: DepthwisePointwise, stride: int = 1) -> tf.Tensor:
    """Convolves each channel alone, and then the channels at each pixel."""
    return conv(depthwise(x, weights.depthwise, stride), weights.pointwise)


def separable_conv(rectified: tf.Tensor, weights: Separable, stride: int) -> tf.Tensor:
    """Computes a separable convolution of a node after ReLU, which its readers share."""
    x = depthwise_pointwise(rectified, weights[0], stride)
    for application in weights[1:]:
        x = depthwise_pointwise(tf.nn.relu(x), application)
    return x


def stem(x: tf.Tensor, convs: tuple[Conv, ...]) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the two inputs of the first cell from a normalized image."""
    if len(convs) == 1:
        x = conv(x, convs[0])
        return x, x
    for weights in convs[:-2]:
        x = tf.nn.relu(conv(x, weights, 2))
    quarter = conv(x, convs[-2], 2)
    return quarter, conv(tf.nn.relu(quarter), convs[-1], 2)


def preprocess(x: tf.Tensor, parts: tuple[Conv, ...]) -> tf.Tensor:
    """Brings an input of a cell to the cell's channels and size."""
    x = tf.nn.relu(x)
    if len(parts) == 1:
        return conv(x, parts[0])
    even, odd = parts
    # Slicing with a stride is not accelerated, a convolution with one is.
    height, width = x.shape[1:3]
    shifted = tf.pad(x, [[0, 0], [0, height % 2], [0, width % 2], [0, 0]])[:, 1:, 1:, :]
    return tf.concat([conv(x, even, 2), conv(shifted, odd, 2)], axis=-1)


def every_nth_pixel(x: tf.Tensor, stride: int) -> tf.Tensor:
    """Computes x[:, ::stride, ::stride] as a depthwise convolution with ones, which is fast."""
    ones = np.ones((1, 1, x.shape[-1], 1), np.float32)
    with tf.name_scope(EVERY_NTH_PIXEL):
        return tf.nn.depthwise_conv2d(x, ones, [1, stride, stride, 1], "SAME")


def router_net(states: list[tf.Tensor], weights: Router) -> tf.Tensor:
    """Computes logits [batch, connections * branches] of the two preprocessed inputs of a cell.

    The first depthwise convolution reads them one by one, after the ReLU that branches share, and
    what is concatenated is a quarter of their size.
    """
    first, *others = weights.blocks
    kernels = np.split(first.depthwise.kernel, len(states), axis=2)
    x = tf.concat(
        [
            tf.nn.depthwise_conv2d(tf.nn.relu(state), kernel, [1, 2, 2, 1], "SAME")
            for state, kernel in zip(states, kernels, strict=True)
        ],
        axis=-1,
    )
    x = conv(x, first.pointwise)
    for block in others:
        x = depthwise_pointwise(tf.nn.relu(x), block, 2)
    return dense(tf.reduce_mean(x, [1, 2]), weights.dense)


def _rounded(x: tf.Tensor, span: tuple[float, float] | None) -> tf.Tensor:
    """Rounds to the 256 values that int8 holds of a span; the gradient is that of clipping."""
    return x if span is None else tf.quantization.fake_quant_with_min_max_args(x, *span)
