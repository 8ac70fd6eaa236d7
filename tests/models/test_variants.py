"""Every registered DRNet: its configuration, its geometry, and the errors of wrong requests."""

import dataclasses
import json

import numpy as np
import pytest

from drnet_tf.models import build_model, list_models, model_config
from drnet_tf.models.drnet.architecture import DRNetConfig, draw_node_inputs, output_channels
from drnet_tf.models.registry import find_family

# Of the family drnet; what all families have in common is in test_families.py.
DRNETS = [name for name in list_models() if find_family(name).name == "drnet"]

# Cells, channels and nodes; drnet_xs is not of the paper.
EXPECTED_CELLS = {
    "drnet_xs": (3, 24, 2),
    "drnet_s": (5, 15, 4),
    "drnet_m": (10, 20, 4),
    "drnet_l": (10, 32, 4),
}

EXPECTED_TASKS = {
    "digits": (16, 10, 16),
    "cifar10": (32, 10, 32),
    "cifar100": (32, 100, 32),
    "imagenet": (224, 1000, 28),
}


@pytest.mark.parametrize("name", DRNETS)
def test_registered_model_has_the_papers_geometry(name):
    architecture, task = name.split(".")
    cells, channels, nodes = EXPECTED_CELLS[architecture]
    image_size, classes, first_size = EXPECTED_TASKS[task]
    config = model_config(name)
    assert (config.image_size, config.classes) == (image_size, classes)
    assert len(config.cell_geometry) == config.cells == cells
    assert config.channels == channels
    assert (config.nodes, config.connections, len(config.branches)) == (nodes, 2 * nodes, 5)
    reductions = [cells // 3, 2 * cells // 3]
    stem_channels = channels if task == "imagenet" else 3 * channels
    outputs = [(stem_channels, first_size * (2 if task == "imagenet" else 1))]
    outputs.append((stem_channels, first_size))
    for index, geometry in enumerate(config.cell_geometry):
        done = sum(reduction <= index for reduction in reductions)
        before = sum(reduction < index for reduction in reductions)
        assert geometry.reduction == (index in reductions)
        assert geometry.channels == channels * 2**done
        assert geometry.size == first_size // 2**before
        assert geometry.output_size == first_size // 2**done
        assert geometry.input_channels == (outputs[-2][0], outputs[-1][0])
        assert geometry.input_sizes == (outputs[-2][1], outputs[-1][1])
        assert geometry.factorized == (outputs[-2][1] == 2 * outputs[-1][1])
        assert [geometry.stride(source) for source in range(4)] == (
            [2, 2, 1, 1] if geometry.reduction else [1, 1, 1, 1]
        )
        outputs.append((nodes * geometry.channels, geometry.output_size))
    assert output_channels(config) == 4 * nodes * channels
    assert config.auxiliary_cell == reductions[1]


@pytest.mark.parametrize("name", DRNETS)
def test_configuration_survives_json(name):
    config = model_config(name)
    assert DRNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("seed", range(20))
def test_each_node_reads_its_predecessor_and_an_input_of_the_cell(seed):
    inputs = draw_node_inputs(4, seed)
    assert inputs[0] == (1, 0)
    assert [pair[0] for pair in inputs[1:]] == [2, 3, 4]
    assert all(pair[1] in (0, 1) for pair in inputs)
    assert draw_node_inputs(4, seed) == inputs


def test_drawn_node_inputs_differ_between_seeds():
    assert len({draw_node_inputs(4, seed) for seed in range(40)}) == 8


def test_unknown_model_is_an_error_that_names_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown model 'drnet_xl.cifar10'; known: drnet_xs.digits"
    ):
        build_model("drnet_xl.cifar10")


def test_unknown_field_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="unknown fields.*depth"):
        build_model("drnet_xs.digits", depth=4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 4),
        ("classes", 1),
        ("cells", 0),
        ("channels", 1),
        ("nodes", 0),
        ("branches", ()),
        ("stem", "resnet"),
        ("router", "mlp"),
        ("recalibration", "sigmoid"),
        ("deviation", (1.0, 0.0, 1.0)),
        ("node_inputs", ((1, 0),)),
        ("node_inputs", ((1, 2), (2, 0), (3, 0), (4, 0))),
        ("node_inputs", ((1, -1), (2, 0), (3, 0), (4, 0))),
    ],
)
def test_value_without_meaning_is_an_error_that_names_the_field(field, value):
    with pytest.raises(ValueError, match=f"^{field} must"):
        model_config("drnet_xs.digits", **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cells", "three"),
        ("cells", 2.5),
        ("channels", None),
        ("nodes", 1.5),
        ("mean", (1.0, 2.0)),
        ("mean", (1.0, float("nan"), 2.0)),
        ("deviation", (1.0, 2.0)),
        ("deviation", (1.0, float("nan"), 2.0)),
        ("branches", "skip"),
        ("branches", ("skip", "skip")),
        ("node_inputs", ((1, 0, 2), (2, 0), (3, 0), (4, 0))),
    ],
)
def test_value_of_a_wrong_type_or_length_is_an_error_that_names_the_field(field, value):
    with pytest.raises(ValueError, match=f"^{field} must"):
        model_config("drnet_xs.digits", **{field: value})


def test_unknown_branch_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown branch 'conv'; known: max_pool_3x3"):
        build_model("drnet_xs.digits", branches=("skip", "conv"))


def test_configurations_compare_and_hash_by_value():
    first, second = (model_config("drnet_s.cifar10") for _ in range(2))
    assert first == second and hash(first) == hash(second)
    assert dataclasses.replace(first, cells=6) != first


def test_changed_fields_are_the_models():
    config = model_config("drnet_m.cifar10", cells=4, channels=np.int64(6), router="none")
    assert (config.cells, config.channels, config.router) == (4, 6, "none")
    assert config.deviation == (63.0, 62.1, 66.7)
