"""Depthwise convolution on TensorFlow with gradients that are fast on a CPU.

The function is TensorFlow's own. But oneDNN takes many times longer, per multiply-accumulate, for
the gradient of a kernel larger than 3 x 3 than of a smaller one, and longer for the gradient of the
image than for a forward pass of the same shape.
"""

from __future__ import annotations

import functools

import tensorflow as tf

#: The largest kernel, in one dimension, whose gradient is fast.
FAST_SIZE = 3


def depthwise_conv(x, kernel, stride: int):
    """A depthwise convolution with "same" padding, as `drnet_tf.layers.separable_conv` wants it.

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
    size = kernel.shape[0]
    backprop = functools.partial(
        tf.raw_ops.DepthwiseConv2dNativeBackpropFilter,
        out_backprop=upstream,
        strides=[1, 1, 1, 1],
    )
    if size <= FAST_SIZE:
        return backprop(input=x, filter_sizes=kernel.shape, padding="SAME")
    # A large kernel's gradient is made of those of small kernels that read the image shifted.
    _, height, width, _ = upstream.shape
    before = size // 2
    padded = tf.pad(x, [[0, 0], [before, before], [before, before], [0, 0]])
    return tf.concat(
        [
            tf.concat(
                [
                    backprop(
                        input=tf.slice(
                            padded,
                            [0, i, j, 0],
                            [-1, height + rows - 1, width + columns - 1, -1],
                        ),
                        filter_sizes=[rows, columns, *kernel.shape[2:]],
                        padding="VALID",
                    )
                    for j, columns in _parts(size)
                ],
                axis=1,
            )
            for i, rows in _parts(size)
        ],
        axis=0,
    )


def _parts(size: int) -> list[tuple[int, int]]:
    """Begin and length of the parts of at most `FAST_SIZE` that a length divides into."""
    return [(begin, min(FAST_SIZE, size - begin)) for begin in range(0, size, FAST_SIZE)]
