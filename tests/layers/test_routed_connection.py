"""The weighted sum of branches: value, and gradients against automatic differentiation."""

import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.layers.routed_connection import sum_with_offsets, weighted_sum


def _terms(count, shape=(3, 4, 5, 2), seed=0):
    generator = np.random.default_rng(seed)
    branches = [tf.constant(generator.normal(0, 1, shape), "float32") for _ in range(count)]
    return branches, tf.constant(generator.random((shape[0], count)), "float32")


def _columns(weights):
    return tf.split(weights, weights.shape[1], axis=1)


@pytest.mark.parametrize("count", [1, 2, 10])
def test_value_is_the_sum_of_weighted_branches(count):
    branches, weights = _terms(count)
    stacked = np.stack([branch.numpy() for branch in branches]).astype("float64")
    expected = np.einsum("bk,kbhwc->bhwc", weights.numpy(), stacked)
    np.testing.assert_allclose(
        weighted_sum(branches, _columns(weights)), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("count", [1, 2, 10])
def test_gradients_are_those_of_automatic_differentiation(count):
    branches, weights = _terms(count)
    upstream = _terms(1, seed=1)[0][0]

    def ours(branches, weights):
        return weighted_sum(branches, _columns(weights))

    def plain(branches, weights):
        return tf.einsum("bk,kbhwc->bhwc", weights, tf.stack(branches))

    gradients = []
    for function in (ours, plain):
        with tf.GradientTape() as tape:
            tape.watch([*branches, weights])
            loss = tf.reduce_sum(tf.square(function(branches, weights)) * upstream)
        gradients.append(tape.gradient(loss, [*branches, weights]))
    for actual, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_one_branch_used_twice_receives_the_gradient_of_both_uses():
    (branch,), _ = _terms(1)
    weights = tf.constant([[0.25, 0.5]] * 3)
    with tf.GradientTape() as tape:
        tape.watch(branch)
        total = tf.reduce_sum(weighted_sum([branch, branch], _columns(weights)))
    np.testing.assert_allclose(tape.gradient(total, branch), np.full(branch.shape, 0.75))


def test_zero_weight_removes_a_branch_of_one_image_only():
    branches, _ = _terms(2)
    weights = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    output = weighted_sum(branches, _columns(weights)).numpy()
    first, second = (branch.numpy() for branch in branches)
    np.testing.assert_array_equal(output, [first[0], second[1], first[2] + second[2]])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_sum_with_offsets_adds_an_offset_to_every_pixel_of_its_image(count):
    images, _ = _terms(3)
    offsets = [tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0 + i]]) for i in range(count)]
    expected = sum(image.numpy() for image in images)
    for offset in offsets:
        expected = expected + offset.numpy()[:, None, None]
    np.testing.assert_allclose(sum_with_offsets(images, offsets), expected, rtol=1e-5, atol=1e-5)
