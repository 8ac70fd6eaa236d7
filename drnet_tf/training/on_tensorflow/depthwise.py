"""Depthwise convolution on TensorFlow with gradients that are fast on a CPU.

The function is TensorFlow's own. But oneDNN takes many times longer, per multiply-accumulate, for
the gradient of a kernel of more than three columns than of one with fewer, and longer for the
gradient of the image than for a forward pass of the same shape.
"""

from __future__ import annotations

import tensorflow as tf

#: The most columns of a kernel whose gradient is fast; how many rows it has makes no difference.
FAST_COLUMNS = 3


def depthwise_conv(x, kernel, stride: int):
    """Computes a depthwise convolution with "same" padding, for `SeparableConvs`.

    Args:
        x: float [batch, height, width, channels].
        kernel: [k, k, channels, 1], k odd.
        stride: of both dimensions.
    """
    if stride == 1:
        return _with_fast_gradients(x, tf.convert_to_tensor(kernel))
    return _convolve(x, kernel, stride)


def _convolve(x, kernel, stride):
    return tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME")


@tf.custom_gradient
def _with_fast_gradients(x, kernel):
    def gradient(upstream):
        # With stride 1 and padding on all sides alike: the convolution with the mirrored kernel.
        d_x = _convolve(upstream, tf.reverse(kernel, [0, 1]), 1)
        return d_x, _kernel_gradient(x, kernel, upstream)

    return _convolve(x, kernel, 1), gradient


def _kernel_gradient(x, kernel, upstream):
    size, _, channels, multiplier = kernel.shape
    if size != 2 * FAST_COLUMNS - 1:
        return _backprop(x, kernel.shape, upstream, "SAME")
    # The left and the right columns of the kernel, which share the middle one: each half sees the
    # image as if it alone were the kernel, with padding on its own side only.
    edge = size // 2
    left, right = (
        _backprop(
            tf.pad(x, [[0, 0], [edge, edge], sides, [0, 0]]),
            [size, FAST_COLUMNS, channels, multiplier],
            upstream,
            "VALID",
        )
        for sides in ([edge, 0], [0, edge])
    )
    return tf.concat([left, right[:, 1:]], axis=1)


def _backprop(x, kernel_shape, upstream, padding):
    return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
        input=x,
        filter_sizes=kernel_shape,
        out_backprop=upstream,
        strides=[1, 1, 1, 1],
        padding=padding,
    )
