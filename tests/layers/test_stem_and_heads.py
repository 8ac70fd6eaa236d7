"""Stems, classifier and auxiliary head against plain numpy."""

import numpy as np
import pytest

from drnet_tf.layers.heads import AuxiliaryHead, Classifier
from drnet_tf.layers.stem import CifarStem, ImageNetStem
from tests.layers import numpy_network
from tests.layers.random_weights import randomize


def _images(size, channels):
    return np.random.default_rng(size).normal(0, 1, (2, size, size, channels)).astype("float32")


def _built(layer, x):
    layer.build(x.shape)
    return randomize(layer)


@pytest.mark.parametrize("training", [False, True])
def test_cifar_stem_gives_both_cells_inputs_three_times_the_channels(training):
    x = _images(7, 3)
    layer = _built(CifarStem(5), x)
    expected, _ = numpy_network.cifar_stem(layer, x, training)
    first, second = layer(x, training=training)
    assert first.shape == second.shape == (2, 7, 7, 15)
    np.testing.assert_allclose(first, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [16, 19])
def test_imagenet_stem_gives_a_quarter_and_an_eighth(size, training):
    x = _images(size, 3)
    layer = _built(ImageNetStem(6), x)
    wanted = numpy_network.imagenet_stem(layer, x, training)
    outputs = layer(x, training=training)
    quarter, eighth = -(-size // 4), -(-size // 8)
    assert [output.shape[1:] for output in outputs] == [(quarter, quarter, 6), (eighth, eighth, 6)]
    for actual, expected in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def test_classifier_is_a_dense_layer_on_the_mean_pixel():
    x = _images(4, 6)
    layer = _built(Classifier(3), x)
    np.testing.assert_allclose(layer(x), numpy_network.classifier(layer, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("size", "stride"), [(8, 3), (7, 2), (5, 3), (2, 2), (1, 3)])
def test_auxiliary_head_is_its_composition_at_any_size(size, stride, training):
    x = _images(size, 4)
    layer = _built(AuxiliaryHead(3, stride), x)
    expected = numpy_network.auxiliary_head(layer, x, stride, training)
    output = layer(x, training=training)
    assert output.shape == (2, 3)
    np.testing.assert_allclose(output, expected, rtol=2e-3, atol=2e-3)
