"""RouterNet against plain numpy."""

import numpy as np
import pytest

from drnet_tf.layers import RouterNet
from tests.layers import numpy_cell
from tests.layers.random_weights import randomize


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [4, 9])
def test_weights_are_those_of_the_composition(size, training):
    layer = RouterNet(connections=4, branches=3)
    x = np.random.default_rng(0).normal(0, 1, (3, size, size, 6)).astype("float32")
    layer.build(x.shape)
    randomize(layer)
    expected = numpy_cell.router_net(layer, x.astype("float64"), training)
    output = np.asarray(layer(x, training=training))
    assert output.shape == (3, 4, 3)
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=2e-4)
    assert output.std() > 0.1


def test_weights_are_float32_under_mixed_precision():
    layer = RouterNet(2, 3, dtype="mixed_bfloat16")
    output = layer(np.ones((1, 4, 4, 6), "float32"))
    assert output.dtype == "float32"
    assert layer.dense.compute_dtype == "float32"
    assert layer.pointwise[0].compute_dtype == "bfloat16"


def test_configuration_makes_the_same_layer():
    layer = RouterNet(4, 3, name="router")
    again = RouterNet.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.connections, again.branches) == (4, 3)
