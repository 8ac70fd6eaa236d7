"""A cell against plain numpy, and what zero weights and drops do in it."""

import keras
import numpy as np
import pytest

from drnet_tf.layers import BRANCHES, Cell, Cost, LayerBranch
from drnet_tf.layers.geometry import CellGeometry
from drnet_tf.models.drnet.architecture import PAPER_BRANCHES
from tests.layers import numpy_cell
from tests.layers.random_weights import randomize

NODE_INPUTS = ((1, 0), (2, 1), (3, 0))
NORMAL = CellGeometry(5, (6, 7), (6, 6), 6, 6, False)
REDUCTION = CellGeometry(5, (6, 7), (7, 7), 7, 4, True)
FACTORIZED = CellGeometry(4, (6, 7), (9, 5), 5, 5, False)
FACTORIZED_REDUCTION = CellGeometry(4, (6, 7), (6, 3), 3, 2, True)


def _cell(geometry, branches=PAPER_BRANCHES, node_inputs=NODE_INPUTS, **options):
    cell = Cell(geometry, node_inputs, branches, **options)
    cell.build()
    return randomize(cell)


def _inputs(geometry, images=3):
    generator = np.random.default_rng(0)
    return tuple(
        generator.normal(0, 1, (images, size, size, channels)).astype("float32")
        for size, channels in zip(geometry.input_sizes, geometry.input_channels, strict=True)
    )


@pytest.mark.parametrize("threshold", [None, 0.6])
@pytest.mark.parametrize("geometry", [NORMAL, REDUCTION, FACTORIZED, FACTORIZED_REDUCTION], ids=str)
def test_output_is_that_of_plain_numpy(geometry, threshold):
    cell, inputs = _cell(geometry), _inputs(geometry)
    output, routing = cell(inputs, temperature=0.8, threshold=threshold)
    expected, recalibrated, selected = numpy_cell.cell(cell, inputs, 0.8, threshold)
    size = geometry.output_size
    assert output.shape == (3, size, size, 3 * geometry.channels)
    np.testing.assert_array_equal(routing["selected"], selected)
    assert selected.all() == (threshold is None)
    np.testing.assert_allclose(routing["recalibrated"], recalibrated, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-3)


def test_other_nodes_and_branches_give_what_plain_numpy_gives():
    branches = ("sep_conv_5x5", "skip", "sep_conv_3x3")
    cell = _cell(REDUCTION, branches, node_inputs=((0, 1), (0, 0), (2, 3)))
    inputs = _inputs(REDUCTION)
    output, _ = cell(inputs, temperature=1.0, threshold=0.5)
    expected, *_ = numpy_cell.cell(cell, inputs, 1.0, 0.5)
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-3)


def test_weights_of_branches_that_are_not_selected_do_not_matter():
    cell, inputs = _cell(NORMAL), _inputs(NORMAL)
    bias = np.zeros((6, 5), "float32")
    bias[:, 4] = 50  # all but the skips have weight zero
    cell.router.dense.bias.assign(bias.reshape(-1))
    before, routing = cell(inputs, temperature=1.0, threshold=0.5)
    assert np.asarray(routing["selected"])[..., 4].all()
    assert np.asarray(routing["selected"]).sum() == 3 * 6
    for convs in cell.separable_convs.values():
        randomize(convs, seed=9)
    after, _ = cell(inputs, temperature=1.0, threshold=0.5)
    np.testing.assert_array_equal(before, after)


def test_selected_skips_alone_make_a_node_the_sum_of_its_sources():
    cell, inputs = _cell(NORMAL), _inputs(NORMAL)
    bias = np.zeros((6, 5), "float32")
    bias[:, 4] = 50
    cell.router.dense.bias.assign(bias.reshape(-1))
    output, _ = cell(inputs, temperature=1.0, threshold=0.0)
    x0, x1 = (numpy_cell.preprocess(p, x) for p, x in zip(cell.preprocess, inputs, strict=True))
    first = x0 + x1
    second = first + x1
    expected = np.concatenate([first, second, second + x0], axis=-1)
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4)


def test_cell_without_router_weighs_all_branches_the_same():
    cell, inputs = _cell(NORMAL, router="none"), _inputs(NORMAL)
    output, routing = cell(inputs, training=False)
    np.testing.assert_allclose(routing["recalibrated"], np.full((3, 6, 5), 0.2), rtol=1e-6)
    states = [numpy_cell.preprocess(p, x) for p, x in zip(cell.preprocess, inputs, strict=True)]
    expected = numpy_cell.nodes(cell, states, np.full((3, 6, 5), 0.2))
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-3)


def test_branch_of_a_user_runs_beside_the_others(monkeypatch):
    def make_layer(channels, stride):
        return keras.layers.Conv2D(channels, 1, stride, use_bias=False)

    own = LayerBranch(make_layer, lambda channels, stride, size: Cost(0, 0))
    monkeypatch.setitem(BRANCHES, "conv_1x1", own)
    cell, inputs = _cell(REDUCTION, ("skip", "conv_1x1"), ((1, 0),)), _inputs(REDUCTION)
    output, routing = cell(inputs, temperature=1.0)
    weights = numpy_cell.value(routing["recalibrated"])
    states = [numpy_cell.preprocess(p, x) for p, x in zip(cell.preprocess, inputs, strict=True)]
    expected = 0.0
    for connection, source in enumerate((1, 0)):
        kernel = numpy_cell.value(cell.layer_branches[f"{connection}_conv_1x1"].kernel)[0, 0]
        x = states[source][:, ::2, ::2]
        for branch, term in enumerate((x, x @ kernel)):
            expected = expected + weights[:, connection, branch, None, None, None] * term
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-3)


def test_branch_of_a_user_runs_under_mixed_precision(monkeypatch):
    def make_layer(channels, stride):
        return keras.layers.Conv2D(channels, 1, stride, use_bias=False)

    own = LayerBranch(make_layer, lambda channels, stride, size: Cost(0, 0))
    monkeypatch.setitem(BRANCHES, "conv_1x1", own)
    cell = _cell(NORMAL, ("skip", "conv_1x1"), ((1, 0),), dtype="mixed_bfloat16")
    output, _ = cell(_inputs(NORMAL), temperature=1.0)
    assert output.dtype == "bfloat16"


def test_unknown_branch_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown branch 'conv'; known: max_pool_3x3"):
        Cell(NORMAL, NODE_INPUTS, ("skip", "conv"))


def test_drops_happen_in_training_only():
    cell, inputs = _cell(NORMAL, recalibration="softmax", seed=1), _inputs(NORMAL)
    rates = dict(temperature=1.0, connection_rate=0.5, branch_rate=0.5)
    plain, _ = cell(inputs, temperature=1.0)
    evaluated, _ = cell(inputs, **rates)
    np.testing.assert_array_equal(evaluated, plain)
    first, _ = cell(inputs, **rates, training=True)
    second, _ = cell(inputs, **rates, training=True)
    assert np.abs(np.asarray(first) - np.asarray(second)).max() > 1e-2


def test_noise_and_drops_of_a_seeded_cell_are_drawn_apart():
    """Were the draws the same, the branch with the highest noise would always survive."""
    cell = _cell(NORMAL, router="routernet", seed=1)
    cell.router.dense.kernel.assign(np.zeros(cell.router.dense.kernel.shape))
    cell.router.dense.bias.assign(np.zeros(cell.router.dense.bias.shape))
    shape = (200, 6, 5)
    noisy = cell.recalibration(np.zeros(shape, "float32"), temperature=1.0, training=True)
    even = np.full(shape, 0.2, "float32")
    survivors = cell.drop_routing(even, connection_rate=0.0, branch_rate=1.0)
    agreement = (np.argmax(noisy, axis=-1) == np.argmax(survivors, axis=-1)).mean()
    assert agreement == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / 1200))
