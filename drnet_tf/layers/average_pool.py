"""Average pooling with a gradient that is fast on a CPU."""

from __future__ import annotations

import numpy as np
from keras import ops


def average_pool(x, size: int):
    """Averages size x size pixels, those outside of the image left out, with stride 1.

    What reaches a pixel in the gradient is the sum, over the same window, of what leaves it divided
    by the number of pixels there: with n that number, n average(upstream / n). TensorFlow's own
    gradient, for any stride, takes several times longer than that.

    Args:
        x: float [batch, height, width, channels].
        size: of the window, odd.

    Returns:
        A tensor of the same shape.
    """
    _, height, width, _ = x.shape
    count = np.outer(_pixels_in_window(height, size), _pixels_in_window(width, size))

    @ops.custom_gradient
    def pool(x):
        def gradient(upstream):
            n = ops.cast(count[None, :, :, None], upstream.dtype)
            return _average(upstream / n, size) * n

        return _average(x, size), gradient

    return pool(x)


def _average(x, size):
    return ops.average_pool(x, size, 1, padding="same")


def _pixels_in_window(length: int, size: int) -> np.ndarray:
    """Counts how many of `length` pixels lie in the window of `size` around each of them."""
    position, edge = np.arange(length), size // 2
    return np.minimum(position, edge) + 1 + np.minimum(length - 1 - position, edge)
