"""BatchNorm against keras.layers.BatchNormalization."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.layers.batch_norm import BatchNorm
from tests.layers.random_weights import randomize


def _images(shape, seed=0):
    generator = np.random.default_rng(seed)
    return (generator.normal(0.5, 2, shape) + generator.normal(0, 1, shape[-1])).astype("float32")


def _pair(shape):
    ours, theirs = BatchNorm(), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    for layer in (ours, theirs):
        layer.build(shape)
    theirs.set_weights(randomize(ours).get_weights())
    return ours, theirs


@pytest.mark.parametrize("shape", [(4, 5, 7, 15), (3, 2, 2, 1), (6, 1, 1, 16), (1, 4, 3, 3)])
@pytest.mark.parametrize("training", [False, True])
def test_output_and_moving_moments_are_keras_own(shape, training):
    x, (ours, theirs) = _images(shape), _pair(shape)
    expected = theirs(x, training=training)
    np.testing.assert_allclose(ours(x, training=training), expected, rtol=1e-4, atol=2e-5)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_keras_own(training):
    shape = (4, 5, 7, 15)
    x, upstream = tf.constant(_images(shape)), _images(shape, seed=1)
    gradients = []
    for layer in _pair(shape):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.tanh(layer(x, training=training)) * upstream)
        gradients.append(tape.gradient(loss, [x, layer.gamma.value, layer.beta.value]))
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_moving_moments_are_those_of_the_batch_with_its_biased_variance():
    x = _images((2, 3, 2, 4))
    layer = BatchNorm(momentum=0.75)
    layer(x, training=True)
    rows = x.reshape(-1, 4).astype("float64")
    np.testing.assert_allclose(layer.moving_mean, 0.25 * rows.mean(axis=0), rtol=1e-5)
    expected = 0.75 + 0.25 * ((rows - rows.mean(axis=0)) ** 2).sum(axis=0) / len(rows)
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-5)


def test_evaluation_leaves_the_moving_moments_alone():
    layer = BatchNorm()
    layer.build((None, 2, 2, 3))
    before = randomize(layer).get_weights()
    layer(_images((2, 2, 2, 3)), training=False)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_constant_channel_has_no_negative_variance():
    x = np.full((4, 3, 3, 5), 1234.567, "float32")
    layer = BatchNorm(momentum=0.0)
    assert np.isfinite(np.asarray(layer(x, training=True))).all()
    assert (np.asarray(layer.moving_variance) >= 0).all()


def test_bfloat16_keeps_moments_in_float32():
    layer = BatchNorm(dtype="mixed_bfloat16")
    layer.build((None, 2, 2, 3))
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    layer.moving_mean.assign([100.0] * 3)
    # 100.1 is no bfloat16: its neighbours are 100 and 100.5.
    output = layer(np.full((2, 2, 2, 3), 101, "float32"), training=True)
    assert output.dtype == "bfloat16"
    np.testing.assert_allclose(layer.moving_mean, [100.1] * 3, rtol=1e-6)


def test_bfloat16_output_and_gradients_are_close_to_those_in_float32():
    shape = (4, 5, 7, 15)
    x, upstream = tf.cast(_images(shape), "bfloat16"), tf.cast(_images(shape, 1), "bfloat16")
    results = []
    for dtype in ("float32", "mixed_bfloat16"):
        layer = BatchNorm(dtype=dtype)
        inputs = tf.cast(x, layer.compute_dtype)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = layer(inputs, training=True)
            loss = tf.reduce_sum(output * tf.cast(upstream, output.dtype))
        results.append([tf.cast(v, "float32") for v in (output, tape.gradient(loss, inputs))])
    for wide, narrow in zip(*results, strict=True):
        np.testing.assert_allclose(narrow, wide, atol=0.03 * float(tf.reduce_max(abs(wide))))


def test_configuration_makes_the_same_layer():
    layer = BatchNorm(momentum=0.5, epsilon=1e-3, name="norm")
    again = BatchNorm.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.momentum, again.epsilon) == (0.5, 1e-3)
