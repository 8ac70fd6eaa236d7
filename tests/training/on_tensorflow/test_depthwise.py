"""The depthwise convolution of the TensorFlow step, against TensorFlow's own and its gradients."""

import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.layers.separable_conv import depthwise_conv as reference
from drnet_tf.training.on_tensorflow.depthwise import depthwise_conv


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 5, 7, 4), (3, 2, 2, 1)])
def test_value_and_gradients_are_tensorflows_own(shape, size, stride):
    generator = np.random.default_rng(size)
    x = tf.constant(generator.normal(0, 1, shape), "float32")
    kernel = tf.constant(generator.normal(0, 1, (size, size, shape[-1], 1)), "float32")
    results = []
    for function in (depthwise_conv, reference):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = function(x, kernel, stride)
            loss = tf.reduce_sum(tf.sin(y))
        results.append((y, *tape.gradient(loss, [x, kernel])))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
