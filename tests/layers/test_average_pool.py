"""Average pooling and its gradient against TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.layers.average_pool import average_pool


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("shape", [(2, 6, 7, 3), (1, 1, 1, 2), (2, 2, 3, 1), (3, 4, 4, 5)])
def test_value_and_gradient_are_tensorflows_own(shape, size):
    x = tf.constant(np.random.default_rng(0).normal(0, 1, shape), "float32")
    results = []
    for pool in (
        lambda x: average_pool(x, size),
        lambda x: tf.nn.avg_pool2d(x, size, 1, "SAME"),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = pool(x)
            loss = tf.reduce_sum(tf.sin(3.0 * y))
        results.append((y, tape.gradient(loss, x)))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
