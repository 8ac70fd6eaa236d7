"""Folding of normalization into convolutions."""

import numpy as np

from export.graphs.drnet.folding import read_weights
from export.graphs.parts import fold
from tests.export.routed_model import CONFIG, model_with_varied_routing


def test_folded_convolution_equals_convolution_and_normalization():
    generator = np.random.default_rng(0)
    x, kernel = generator.normal(size=(50, 6)), generator.normal(size=(1, 1, 6, 4))
    gamma, beta, mean = generator.normal(size=(3, 4))
    variance = generator.uniform(0.1, 2, 4)
    folded = fold(kernel, gamma, beta, mean, variance, epsilon=1e-3)
    expected = gamma * (x @ kernel[0, 0] - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(x @ folded.kernel[0, 0] + folded.bias, expected, atol=1e-5)
    assert folded.kernel.dtype == folded.bias.dtype == np.float32


def test_every_separable_convolution_equals_the_layer_of_the_model():
    model = model_with_varied_routing(CONFIG)
    network = read_weights(model)
    generator = np.random.default_rng(1)
    for cell, layer in zip(network.cells, model.cells, strict=True):
        assert set(cell.separable) == {
            (connection, branch) for connection in range(CONFIG.connections) for branch in (2, 3)
        }
        for group, members in layer.separable_members.items():
            stack = layer.separable_convs[str(group)]
            for member, key in enumerate(members):
                norm, folded = stack.norm[1], cell.separable[key][1]
                pointwise = np.asarray(stack.pointwise[1])[member]
                x = generator.normal(size=(5, pointwise.shape[0])).astype(np.float32)
                scale = np.asarray(norm.gamma)[member] / np.sqrt(
                    np.asarray(norm.moving_variance)[member] + norm.epsilon
                )
                offset = np.asarray(norm.beta)[member]
                expected = (x @ pointwise - np.asarray(norm.moving_mean)[member]) * scale + offset
                actual = x @ folded.pointwise.kernel[0, 0] + folded.pointwise.bias
                np.testing.assert_allclose(actual, expected, atol=1e-4)
                kernel_size = {2: 3, 3: 5}[key[1]]
                assert folded.depthwise.kernel.shape[:2] == (kernel_size, kernel_size)
