"""Every form of a model gives what the Keras model gives."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from drnet_tf.layers import branches
from drnet_tf.layers.branches import LayerBranch
from drnet_tf.layers.cost import Cost
from drnet_tf.layers.geometry import half
from drnet_tf.models.cost import CostTable
from drnet_tf.models.drnet.architecture import DRNetConfig
from export.folder import names
from export.folder.names import saved_model_path
from export.graphs.drnet.folding import read_weights
from export.graphs.graph import OUTPUTS, graph_of
from export.graphs.plan import DENSE, Plan, only, routed
from export.saved_model.runner import SavedModelRunner
from export.tflite.converter import to_tflite
from export.tflite.operators import count_operators, not_builtin
from export.tflite.runner import Outputs, TFLiteRunner
from tests.export.routed_model import (
    CONFIG,
    assert_equal_outputs,
    images_of,
    model_with_varied_routing,
    run_keras,
)

THRESHOLDS = (-1.0, 0.0, 0.4, 0.8, 1.0, 2.0, math.nan)
SMALLEST = dataclasses.replace(CONFIG, cells=1, nodes=1, node_inputs=())
# Three cells have a factorized input; with odd channels and sizes its halves differ.
VARIANTS = {
    "imagenet stem, other normalization, odd channels and sizes": DRNetConfig(
        image_size=37,
        classes=3,
        cells=3,
        channels=5,
        nodes=1,
        stem="imagenet",
        mean=(125.3, 123.0, 113.9),
        deviation=(63.0, 62.1, 66.7),
    ),
    "no router": dataclasses.replace(SMALLEST, router="none"),
    "no recalibration": dataclasses.replace(SMALLEST, recalibration="none"),
    "softmax": dataclasses.replace(SMALLEST, recalibration="softmax"),
    "only separable convolutions": dataclasses.replace(SMALLEST, branches=("sep_conv_3x3",)),
}


@pytest.fixture(scope="module")
def tflite(exported) -> TFLiteRunner:
    return TFLiteRunner(exported.folder / names.TFLITE_FILE)


@pytest.fixture(scope="module")
def saved_model(exported) -> SavedModelRunner:
    return SavedModelRunner(saved_model_path(exported.folder))


def test_routing_differs_between_images(exported, images):
    selected = run_keras(exported.trained.model, images, 0.5).selected
    assert len({mask.tobytes() for mask in selected}) > len(images) // 2


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_tflite_equals_keras(exported, tflite, images, threshold):
    expected = run_keras(exported.trained.model, images, threshold)
    assert_equal_outputs(tflite.run_all(images, threshold), expected)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_saved_model_equals_keras(exported, saved_model, images, threshold):
    expected = run_keras(exported.trained.model, images, threshold)
    assert_equal_outputs(saved_model.run(images, threshold), expected)


ALL_GATED = Plan(gated=np.ones((CONFIG.cells, CONFIG.connections, 5), bool))


@pytest.mark.parametrize(
    "plan_of",
    [lambda graph: routed(graph.gateable), lambda graph: ALL_GATED, lambda graph: DENSE],
    ids=["routed", "all", "dense"],
)
def test_graph_run_eagerly_equals_keras(exported, images, plan_of):
    graph = graph_of(exported.trained.model)
    outputs = [
        graph.forward(tf.constant(image[None]), tf.constant([0.5]), plan_of(graph))
        for image in images[:3]
    ]
    actual = Outputs(*(np.concatenate([output[name] for output in outputs]) for name in OUTPUTS))
    expected = run_keras(exported.trained.model, images[:3], 0.5)
    assert_equal_outputs(dataclasses.replace(actual, selected=actual.selected > 0.5), expected)


def test_graph_of_only_a_selection_equals_keras_on_its_image(exported, images):
    expected = run_keras(exported.trained.model, images[:1], 0.5)
    model = to_tflite(graph_of(exported.trained.model), only(expected.selected[0]))
    assert_equal_outputs(TFLiteRunner(model).run_all(images[:1], 0.5), expected)
    assert "IF" not in count_operators(model)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, math.nan])
def test_selects_one_branch_a_connection_below_any_weight(tflite, images, threshold):
    assert (tflite.run(images[0], threshold).selected.sum(axis=-1) == 1).all()


@pytest.mark.parametrize("threshold", [1.0, 7.0, math.inf])
def test_selects_all_branches_from_one_on(exported, tflite, images, threshold):
    outputs = tflite.run(images[0], threshold)
    assert outputs.selected.all()
    assert outputs.flops == np.float32(exported.trained.model.cost.total.macs)


@pytest.mark.parametrize("batch", [1, 3])
def test_saved_model_takes_any_batch_and_a_threshold_for_each_image(saved_model, images, batch):
    thresholds = np.linspace(0, 1, batch)
    together = saved_model.run(images[:batch], thresholds)
    for i in range(batch):
        alone = saved_model.run(images[i : i + 1], thresholds[i])
        np.testing.assert_array_equal(together.selected[i], alone.selected[0])
        np.testing.assert_allclose(together.logits[i], alone.logits[0], atol=1e-4)
        assert together.flops[i] == alone.flops[0]


def test_flops_are_rounded_once_where_float32_cannot_count():
    config = dataclasses.replace(CONFIG, cells=1)
    graph = read_weights(model_with_varied_routing(config))
    # 2**24 + 1 is the first integer that float32 lacks: sums of small numbers get stuck there.
    macs = np.ones_like(graph.cost.unit_macs)
    graph = dataclasses.replace(graph, cost=CostTable(Cost(0, 2**24), macs, macs))
    image = tf.constant(images_of(config, 1))
    flops = graph.forward(image, tf.constant([1.0]), DENSE)["flops"].numpy()
    assert flops == [np.float32(2**24 + macs.size)]


def test_every_separable_convolution_is_one_if_and_all_operators_are_builtin(exported):
    operators = count_operators((exported.folder / names.TFLITE_FILE).read_bytes())
    assert operators["IF"] == CONFIG.cells * CONFIG.connections * 2
    assert not not_builtin(operators)
    assert operators == exported.export.description["operators"]


def test_no_input_or_output_has_rank_zero(exported):
    model = exported.folder / names.TFLITE_FILE
    signature = Interpreter(str(model)).get_signature_runner("serving_default")
    inputs, outputs = signature.get_input_details(), signature.get_output_details()
    shapes = {name: tuple(v["shape"]) for name, v in (inputs | outputs).items()}
    assert shapes == {
        "image": (1, 16, 16, 3),
        "threshold": (1,),
        "logits": (1, 4),
        "probabilities": (1, 4),
        "selected": (3, 4, 5),
        "flops": (1,),
    }
    assert {v["dtype"] for v in (inputs | outputs).values()} == {np.float32}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_variants_equal_keras(config):
    model = model_with_varied_routing(config)
    images = images_of(config, 2)
    graph = graph_of(model)
    runner = TFLiteRunner(to_tflite(graph, routed(graph.gateable)))
    for threshold in (0.0, 0.5, 1.0):
        expected = run_keras(model, images, threshold)
        assert_equal_outputs(runner.run_all(images, threshold), expected)


def test_graph_that_can_skip_every_branch_equals_keras(exported, images):
    converted = to_tflite(graph_of(exported.trained.model), ALL_GATED)
    assert count_operators(converted)["IF"] == ALL_GATED.gated.size
    for threshold in (0.0, 0.5, 1.0):
        expected = run_keras(exported.trained.model, images, threshold)
        assert_equal_outputs(TFLiteRunner(converted).run_all(images, threshold), expected)


def test_branch_of_ones_own_is_gated_and_equals_keras(monkeypatch):
    own = LayerBranch(
        lambda channels, stride: keras.Sequential(
            [
                keras.layers.Conv2D(channels, 3, stride, padding="same"),
                keras.layers.BatchNormalization(),
            ]
        ),
        lambda channels, stride, size: Cost(
            9 * channels**2, 9 * channels**2 * (size if stride == 1 else half(size)) ** 2
        ),
    )
    monkeypatch.setitem(branches.BRANCHES, "full_conv_3x3", own)
    config = dataclasses.replace(
        CONFIG, cells=1, nodes=1, node_inputs=(), branches=("skip", "full_conv_3x3")
    )
    model = model_with_varied_routing(config)
    images = images_of(config, 3)
    graph = graph_of(model)
    converted = to_tflite(graph, routed(graph.gateable))
    assert count_operators(converted)["IF"] == config.connections
    for threshold in (0.0, 1.0):
        expected = run_keras(model, images, threshold)
        assert_equal_outputs(TFLiteRunner(converted).run_all(images, threshold), expected)
