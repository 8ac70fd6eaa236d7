"""Costs against the paper's tables, the built models, and sums written out by hand."""

import dataclasses
import io

import keras
import numpy as np
import pytest
from rich.console import Console

from drnet_tf import count
from drnet_tf.layers.branches import BRANCHES, LayerBranch
from drnet_tf.layers.cost import Cost
from drnet_tf.models import build_from_config, list_models, model_config
from drnet_tf.models.cost import expected_resource
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.cost import cost_table
from drnet_tf.models.registry import family_of

TINY = DRNetConfig(image_size=8, classes=3, cells=3, channels=4, nodes=2)


@pytest.mark.parametrize(
    ("name", "router", "params", "macs"),
    [
        ("drnet_s.cifar10", "none", 0.46, 77.34),
        ("drnet_s.cifar10", "routernet", 0.57, 84.65),
        ("drnet_m.cifar10", "routernet", 1.86, 267.3),
        ("drnet_l.cifar10", "routernet", 4.41, 603.1),
    ],
)
def test_counts_are_those_of_the_papers_tables(name, router, params, macs):
    counted = _counted(model_config(name, router=router))
    assert counted.params / 1e6 == pytest.approx(params, rel=0.01)
    assert counted.macs / 1e6 == pytest.approx(macs, rel=0.025)


def test_macs_on_imagenet_are_those_that_the_papers_saving_implies():
    counted = _counted(model_config("drnet_l.imagenet"))
    assert counted.macs / 1e6 == pytest.approx(351 / (1 - 0.2763), rel=0.025)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(router="none", cells=2, branches=("skip", "sep_conv_5x5")),
        dict(stem="imagenet", image_size=27, cells=3, channels=5),
        dict(channels=3, image_size=9, cells=2, nodes=3),
        dict(cells=1, branches=("max_pool_3x3", "skip")),
    ],
    ids=str,
)
def test_params_are_those_of_the_built_model_without_its_auxiliary_head(changes):
    config = dataclasses.replace(TINY, node_inputs=(), **changes)
    assert cost_table(config).total.params == _trainable_params(build_from_config(config))


def test_params_count_a_users_own_branch(monkeypatch):
    branch = LayerBranch(
        lambda channels, stride: keras.layers.Conv2D(channels, 3, stride, padding="same"),
        lambda channels, stride, size: Cost(9 * channels**2 + channels, 0),
    )
    monkeypatch.setitem(BRANCHES, "conv_3x3", branch)
    config = dataclasses.replace(TINY, cells=1, branches=("skip", "conv_3x3"))
    assert cost_table(config).total.params == _trainable_params(build_from_config(config))


def test_macs_of_a_tiny_network_are_the_sum_by_hand():
    # The only cell is a reduction cell: 8 channels, from 8 x 8 to 4 x 4 pixels.
    config = DRNetConfig(
        image_size=8,
        classes=10,
        cells=1,
        channels=4,
        nodes=2,
        node_inputs=((1, 0), (2, 1)),
        branches=("max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "sep_conv_5x5", "skip"),
    )
    pixels, quarter, sixteenth = 64, 16, 4
    stem = (9 * 3 * 12 + 12) * pixels
    preprocess = 2 * (12 * 8 + 8) * pixels
    block = 25 * 16 + 16 * 16 + 16  # depthwise, pointwise, normalization
    router = block * quarter + block * sixteenth + 16 * 4 * 5
    weighting = 4 * 5 * 8 * quarter
    classifier = 16 * 10
    pool = 9 * 8 * quarter
    separable = {k: 2 * (k * k * 8 + 8 * 8 + 8) * quarter for k in (3, 5)}
    table = cost_table(config)
    assert table.fixed.macs == stem + preprocess + router + weighting + classifier
    assert table.unit_macs.shape == (1, 4, 5)
    for connection in range(4):
        expected = [pool, pool, separable[3], separable[5], 0]
        assert table.unit_macs[0, connection].tolist() == expected
    assert table.total.macs == table.fixed.macs + 4 * (2 * pool + separable[3] + separable[5])


def test_macs_of_the_imagenet_stem_and_a_factorized_input_are_the_sum_by_hand():
    config = DRNetConfig(
        image_size=30,
        classes=2,
        cells=2,
        channels=6,
        nodes=1,
        stem="imagenet",
        router="none",
        branches=("sep_conv_3x3",),
    )
    # 30 pixels become 15, 8 and 4; both cells are reduction cells: 4 become 2 and 1.
    stem = (9 * 3 * 3 + 3) * 15**2 + (9 * 3 * 6 + 6) * 8**2 + (9 * 6 * 6 + 6) * 4**2
    first = 2 * (6 * 12 + 12) * 4**2  # the input of 8 pixels is reduced to 4 on the way in
    second = (6 * 24 + 24) * 2**2 + (12 * 24 + 24) * 2**2
    table = cost_table(config)
    assert table.fixed.macs == stem + first + second + 24 * 2
    assert table.unit_macs[0].tolist() == [[2 * (9 * 12 + 12 * 12 + 12) * 2**2]] * 2
    assert table.unit_macs[1].tolist() == [[2 * (9 * 24 + 24 * 24 + 24) * 1]] * 2


def test_connections_from_nodes_of_a_reduction_cell_work_at_its_output_size():
    config = dataclasses.replace(TINY, cells=1, node_inputs=((1, 0), (2, 2)))
    macs = cost_table(config).unit_macs[0, :, 0]
    assert macs.tolist() == [9 * 8 * 4**2] * 4


def test_all_branches_selected_cost_the_total_and_none_the_fixed_part():
    table = cost_table(TINY)
    everything = np.ones((2, *table.unit_macs.shape), bool)
    params, macs = table.of_selection(everything)
    assert params.tolist() == [table.total.params] * 2
    assert macs.tolist() == [table.total.macs] * 2
    params, macs = table.of_selection(~everything)
    assert params.tolist() == [table.fixed.params] * 2
    assert macs.tolist() == [table.fixed.macs] * 2


def test_cost_of_a_selection_is_the_fixed_part_and_each_selected_branch():
    table = cost_table(TINY)
    selected = np.random.default_rng(0).random((5, *table.unit_macs.shape)) < 0.4
    params, macs = table.of_selection(selected)
    for image in range(5):
        chosen = list(zip(*np.nonzero(selected[image]), strict=True))
        assert macs[image] == table.fixed.macs + sum(int(table.unit_macs[c]) for c in chosen)
        assert params[image] == table.fixed.params + sum(int(table.unit_params[c]) for c in chosen)


def test_expected_resource_weighs_each_branch():
    generator = np.random.default_rng(1)
    weights = generator.random((3, 2, 4, 5)).astype("float32")
    resource = generator.integers(0, 10**6, (2, 4, 5))
    actual = np.asarray(expected_resource(weights, resource, 1234.5))
    expected = np.einsum("bcik,cik->b", weights.astype("float64"), resource) + 1234.5
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_count_prints_every_model_and_the_papers_figures():
    output = io.StringIO()
    Console(file=output, width=80).print(count.table(count.rows()))
    text = output.getvalue()
    for name in list_models():
        assert name in text
    for figure in ("0.46", "77.34", "0.57", "84.65", "1.86", "267.30", "4.41", "603.10", "485.00"):
        assert figure in text


def test_deviation_is_in_percent_of_the_papers_figure():
    assert count.deviation(0.9, 0.6) == "+50.0"
    assert count.deviation(1.0, 4.0) == "-75.0"
    assert count.deviation(1.0, None) == ""


def _counted(config):
    return family_of(config).cost(config).total


def _trainable_params(model):
    auxiliary = {weight.path for weight in model.auxiliary.trainable_weights}
    return sum(
        int(np.prod(weight.shape))
        for weight in model.trainable_weights
        if weight.path not in auxiliary
    )
