"""The graph of a model without routing."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.errors import UserError
from drnet_tf.models.family import Routing
from drnet_tf.models.registry import FAMILIES, build_from_config, model_config
from export.graphs.graph import graph_of
from export.graphs.plan import DENSE, routed
from export.tflite.converter import to_tflite
from export.tflite.operators import count_operators
from export.tflite.runner import TFLiteRunner

CONFIG = model_config("mobilenet_v2_w035.digits", image_size=16, classes=3)


@pytest.fixture(scope="module")
def model():
    model = build_from_config(CONFIG)
    generator = np.random.default_rng(0)
    for variable in model.variables:
        if variable.path.endswith(("gamma", "beta", "moving_mean", "moving_variance")):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)


def test_file_has_one_input_and_gives_what_keras_does(model, images):
    graph = graph_of(model)
    content = to_tflite(graph, routed(graph.gateable))
    runner = TFLiteRunner(content)
    assert not runner.routed and runner.image_shape == (1, 16, 16, 3)
    outputs = runner.run_all(images, 0.5)
    expected = model(images)[0].numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(outputs.logits, expected, rtol=0, atol=1e-4 * scale)
    np.testing.assert_allclose(outputs.probabilities.sum(axis=1), 1, atol=1e-5)
    assert outputs.selected is None and outputs.flops is None


def test_normalization_is_folded_into_the_convolutions(model):
    operators = count_operators(to_tflite(graph_of(model), DENSE))
    convolutions = operators["CONV_2D"] + operators["DEPTHWISE_CONV_2D"]
    assert convolutions == sum(len(v.shape) == 4 for v in model.variables)
    assert operators["MUL"] <= 1  # that of the image's normalization
    assert "RESHAPE" not in operators


def test_weights_that_change_later_do_not_reach_the_graph(images):
    model = build_from_config(CONFIG)
    graph = graph_of(model)
    images = tf.constant(images)
    before = graph.forward(images, None, DENSE)["logits"].numpy()
    model.classifier.dense.kernel.assign(0 * model.classifier.dense.kernel)
    np.testing.assert_array_equal(graph.forward(images, None, DENSE)["logits"], before)
    assert np.abs(before).max() > 0


def test_has_no_units_no_parts_and_nothing_undecided(model):
    graph = graph_of(model)
    assert graph.units == () and graph.gateable.shape == () and not graph.routed
    assert not graph.undecided({}, np.zeros(3), None).any()
    with pytest.raises(UserError, match="cannot be changed one by one") as error:
        graph.map(lambda name, part: part)
    assert "\n" not in str(error.value)


class Tiny(keras.Model):
    """A model of a family of one's own."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.dense = keras.layers.Dense(2)

    def call(self, images, threshold=None, training=False):
        logits = self.dense(keras.ops.mean(images, axis=(1, 2)))
        none = keras.ops.zeros(keras.ops.shape(images)[:1])
        return logits, Routing(none > 1, none, none, {})


def test_graph_is_found_by_the_name_of_the_family(monkeypatch, images):
    config = types.SimpleNamespace(image_size=16)
    family = types.SimpleNamespace(name="tiny", config=types.SimpleNamespace)
    monkeypatch.setitem(FAMILIES, "tiny", family)
    model = Tiny(config)
    expected = model(images)[0]
    with pytest.raises(UserError, match="models of the family tiny cannot be exported yet"):
        graph_of(model)
    family.name = "plain"
    outputs = TFLiteRunner(to_tflite(graph_of(model), DENSE)).run_all(images)
    np.testing.assert_allclose(outputs.logits, expected, rtol=1e-4, atol=1e-3)
