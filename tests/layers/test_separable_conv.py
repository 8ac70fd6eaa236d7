"""Each member of SeparableConvs against the composition of its operations."""

import numpy as np
import pytest

from drnet_tf.layers import SeparableConvs
from tests.layers import numpy_cell
from tests.layers.random_weights import randomize

KERNEL_SIZES = (3, 5, 5, 3, 3)


def _inputs(sizes, channels=6, seed=0):
    generator = np.random.default_rng(seed)
    return [abs(generator.normal(0, 1, (2, s, s, channels))).astype("float32") for s in sizes]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("sizes", "strides"),
    [
        ((6,) * 5, (1,) * 5),
        ((7,) * 5, (2,) * 5),
        ((8,) * 5, (2,) * 5),
        ((4, 8, 4, 7, 4), (1, 2) * 2 + (1,)),
    ],
)
def test_each_member_is_its_own_composition_times_its_weight(sizes, strides, training):
    layer = SeparableConvs(KERNEL_SIZES, strides)
    xs = _inputs(sizes)
    layer.build(xs[0].shape)
    randomize(layer)
    expected = [
        numpy_cell.separable_conv(layer, member, x.astype("float64"), strides[member], training)
        for member, x in enumerate(xs)
    ]
    weights = np.random.default_rng(1).random((2, 5)).astype("float32")
    outputs, offsets = layer(xs, weights, training=training)
    assert len(outputs) == layer.members == 5
    for member, wanted in enumerate(expected):
        actual = np.asarray(outputs[member]) + np.asarray(offsets)[:, member, None, None]
        wanted = weights[:, member, None, None, None] * wanted
        np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-4)


def test_training_moves_the_moments_of_each_member_towards_its_own_batch():
    layer, xs = SeparableConvs((3, 3), (1, 1)), _inputs((4, 4))
    layer.build(xs[0].shape)
    layer([xs[0], 0 * xs[1]], np.ones((2, 2), "float32"), training=True)
    mean, variance = (
        np.asarray(layer.norm[0].moving_mean),
        np.asarray(layer.norm[0].moving_variance),
    )
    # A tenth of the step towards the batch's moments, which are zero for the second member.
    np.testing.assert_allclose(variance[1], 0.9, rtol=1e-6)
    np.testing.assert_array_equal(mean[1], 0)
    assert (variance[0] > 0.9).all() and (mean[0] != 0).all()


def test_depthwise_kernels_come_in_the_order_of_the_members():
    layer = SeparableConvs(KERNEL_SIZES, (1,) * 5)
    layer.build((None, 4, 4, 6))
    kernels = layer.depthwise_kernels(1)
    assert [kernel.shape[0] for kernel in kernels] == list(KERNEL_SIZES)
    weights = layer.depthwise[1]
    for member, (size, position) in enumerate([(3, 0), (5, 0), (5, 1), (3, 1), (3, 2)]):
        np.testing.assert_array_equal(kernels[member], np.asarray(weights[str(size)])[position])


def test_configuration_makes_the_same_layer():
    layer = SeparableConvs((3, 5), (1, 2), name="convs")
    again = SeparableConvs.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.kernel_sizes, again.strides) == ((3, 5), (1, 2))
