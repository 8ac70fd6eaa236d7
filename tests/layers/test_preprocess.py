"""Preprocessing against numpy indexing."""

import numpy as np
import pytest

from drnet_tf.layers.preprocess import Preprocess, odd_pixels
from tests.layers import numpy_cell
from tests.layers.random_weights import randomize


def _images(size, channels=3):
    return np.random.default_rng(size).normal(0, 1, (2, size, size, channels)).astype("float32")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("factorized", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_output_is_relu_pointwise_and_normalization(size, factorized, training):
    layer, x = Preprocess(5, factorized), _images(size)
    layer.build(x.shape)
    randomize(layer)
    expected = numpy_cell.preprocess(layer, x.astype("float64"), training)
    output = np.asarray(layer(x, training=training))
    height = -(-size // 2) if factorized else size
    assert output.shape == (2, height, height, 5)
    np.testing.assert_allclose(output, expected, rtol=2e-3, atol=2e-4)


def test_odd_pixels_of_an_even_size_are_every_second_one():
    x = _images(6)
    np.testing.assert_array_equal(odd_pixels(x), x[:, 1::2, 1::2])


def test_odd_pixels_of_an_odd_size_end_with_zeros():
    x = _images(5)
    actual = np.asarray(odd_pixels(x))
    assert actual.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(actual[:, :2, :2], x[:, 1::2, 1::2])
    assert (actual[:, 2] == 0).all() and (actual[:, :, 2] == 0).all()


def test_factorized_halves_see_different_pixels():
    layer, x = Preprocess(4, factorized=True), np.zeros((1, 4, 4, 3), "float32")
    layer.build(x.shape)
    randomize(layer)
    base = np.asarray(layer(x))
    for pixel, channels in ((2, slice(0, 2)), (3, slice(2, 4))):
        changed = x.copy()
        changed[0, pixel, pixel] = 1
        difference = np.asarray(layer(changed)) - base
        assert (difference[0, 1, 1, channels] != 0).all()
        difference[0, 1, 1, channels] = 0
        assert (difference == 0).all()


def test_configuration_makes_the_same_layer():
    layer = Preprocess(6, factorized=True, name="preprocess")
    again = Preprocess.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.channels, again.factorized) == (6, True)
