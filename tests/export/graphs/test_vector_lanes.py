"""Networks with channels of zeros that fill vector lanes."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.models.drnet.architecture import DRNetConfig
from export.graphs.drnet.folding import read_weights
from export.graphs.drnet.forward import DRNetGraph
from export.graphs.drnet.vector_lanes import fill_vector_lanes, padded_channels
from export.graphs.plan import DENSE
from tests.export.routed_model import CONFIG, images_of, model_with_varied_routing


@pytest.mark.parametrize(
    "channels, padded",
    [(15, 16), (30, 32), (45, 48), (60, 64), (16, 16), (20, 20), (24, 24), (4, 4), (5, 5), (2, 2)],
)
def test_channels_become_the_largest_multiple_of_lanes_that_is_near(channels, padded):
    assert padded_channels(channels) == padded


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_padded_network_says_the_same_and_selects_the_same_branches(stem):
    config = dataclasses.replace(CONFIG, channels=15, stem=stem, image_size=32)
    network = read_weights(model_with_varied_routing(config))
    padded = fill_vector_lanes(network)
    assert [cell.geometry.channels for cell in network.cells] == [15, 30, 60]
    assert [cell.geometry.channels for cell in padded.cells] == [16, 32, 64]
    images = images_of(config, 3)
    expected, actual = (run(each, images) for each in (network, padded))
    np.testing.assert_array_equal(actual["selected"], expected["selected"])
    np.testing.assert_array_equal(actual["flops"], expected["flops"])
    scale = np.abs(expected["logits"]).max()
    np.testing.assert_allclose(actual["logits"], expected["logits"], rtol=0, atol=1e-5 * scale)


def test_network_with_layers_of_ones_own_stays_as_it_is():
    network = read_weights(
        model_with_varied_routing(
            DRNetConfig(image_size=16, classes=4, cells=3, channels=15, nodes=2)
        )
    )
    first, *others = network.cells
    own = dataclasses.replace(first, layers={(0, 0): keras.layers.ReLU()})
    network = dataclasses.replace(network, cells=(own, *others))
    assert fill_vector_lanes(network) is network


def run(graph: DRNetGraph, images: np.ndarray) -> dict[str, np.ndarray]:
    outputs = graph.forward(tf.constant(images), tf.constant([0.7]), DENSE)
    return {name: values.numpy() for name, values in outputs.items()}
