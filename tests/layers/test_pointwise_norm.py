"""PointwiseNorm against a matrix product and keras.layers.BatchNormalization after it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.layers.pointwise_norm import PointwiseNorm
from tests.layers.random_weights import randomize

MEMBERS, CHANNELS = 3, 5


def _images(seed=0):
    generator = np.random.default_rng(seed)
    shape = (2, 4, 3, CHANNELS)
    return [tf.constant(generator.normal(0.5, 2, shape), "float32") for _ in range(MEMBERS)]


def _kernels():
    shape = (MEMBERS, CHANNELS, CHANNELS)
    return tf.constant(np.random.default_rng(2).normal(0, 1, shape), "float32")


def _layers():
    ours = PointwiseNorm(MEMBERS)
    ours.build((None, 4, 3, CHANNELS))
    randomize(ours)
    theirs = []
    for member in range(MEMBERS):
        norm = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        norm.build((None, 4, 3, CHANNELS))
        norm.set_weights([weight[member] for weight in ours.get_weights()])
        theirs.append(norm)
    return ours, theirs


def _folded(ours, xs, kernels, training):
    folded, offsets = ours(xs, kernels, training=training)
    return [
        x @ kernel + offset
        for x, kernel, offset in zip(xs, tf.unstack(folded), tf.unstack(offsets), strict=True)
    ]


def _one_after_the_other(theirs, xs, kernels, training):
    return [
        norm(x @ kernel, training=training)
        for norm, x, kernel in zip(theirs, xs, tf.unstack(kernels), strict=True)
    ]


@pytest.mark.parametrize("training", [False, True])
def test_output_and_moving_moments_are_those_of_a_normalization_after_the_product(training):
    (ours, theirs), xs, kernels = _layers(), _images(), _kernels()
    expected = _one_after_the_other(theirs, xs, kernels, training)
    actual = _folded(ours, xs, kernels, training)
    np.testing.assert_allclose(tf.stack(actual), tf.stack(expected), rtol=1e-4, atol=1e-4)
    for member, norm in enumerate(theirs):
        for mine, other in zip(ours.get_weights(), norm.get_weights(), strict=True):
            np.testing.assert_allclose(mine[member], other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_those_of_a_normalization_after_the_product(training):
    (ours, theirs), xs, kernels, upstream = _layers(), _images(), _kernels(), _images(seed=1)
    gammas = [ours.gamma.value], [norm.gamma.value for norm in theirs]
    betas = [ours.beta.value], [norm.beta.value for norm in theirs]
    found = []
    for function, layer, gamma, beta in (
        (_folded, ours, gammas[0], betas[0]),
        (_one_after_the_other, theirs, gammas[1], betas[1]),
    ):
        with tf.GradientTape() as tape:
            tape.watch([*xs, kernels])
            outputs = function(layer, xs, kernels, training)
            loss = sum(
                tf.reduce_sum(tf.tanh(y) * u) for y, u in zip(outputs, upstream, strict=True)
            )
        found.append(tape.gradient(loss, [xs, kernels, gamma, beta]))
    for actual, expected in zip(*found, strict=True):
        actual, expected = (
            np.concatenate([np.ravel(part) for part in g]) for g in (actual, expected)
        )
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def test_constant_images_have_no_negative_variance():
    layer = PointwiseNorm(1, momentum=0.0)
    layer.build((None, 3, 3, 4))
    kernels, offsets = layer(
        [tf.fill((4, 3, 3, 4), 1234.567)], _kernels()[:1, :4, :4], training=True
    )
    assert np.isfinite(kernels).all() and np.isfinite(offsets).all()
    assert (np.asarray(layer.moving_variance) >= 0).all()


def test_configuration_makes_the_same_layer():
    layer = PointwiseNorm(3, momentum=0.5, epsilon=1e-3, name="norm")
    assert PointwiseNorm.from_config(layer.get_config()).get_config() == layer.get_config()
