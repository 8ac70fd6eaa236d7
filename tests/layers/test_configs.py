"""Every layer is what its configuration says, as every Keras layer is."""

import json

import keras
import numpy as np
import pytest

from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.cell import Cell
from drnet_tf.layers.dropping import DropRouting
from drnet_tf.layers.geometry import CellGeometry
from drnet_tf.layers.gumbel_softmax import Recalibration
from drnet_tf.layers.heads import AuxiliaryHead, Classifier
from drnet_tf.layers.pointwise_norm import PointwiseNorm
from drnet_tf.layers.preprocess import Preprocess
from drnet_tf.layers.router_net import RouterNet
from drnet_tf.layers.separable_conv import SeparableConvs
from drnet_tf.layers.stem import CifarStem, ImageNetStem
from drnet_tf.models.plain.architecture import IDENTITY, Block
from drnet_tf.models.plain.inverted_residual import InvertedResidual

GEOMETRY = CellGeometry(4, (6, 6), (8, 4), 4, 2, True)
IMAGE = (None, 16, 16, 4)
CASES = [
    (BatchNorm(momentum=0.8), IMAGE),
    (Cell(GEOMETRY, ((1, 0), (2, 1)), ("skip", "sep_conv_3x3"), seed=3), None),
    (Cell(GEOMETRY, ((1, 0),), ("skip",), router="none", recalibration="softmax"), None),
    (DropRouting(seed=1), (None, 2, 3)),
    (Recalibration("softmax", seed=1), (None, 2, 3)),
    (Classifier(5), IMAGE),
    (AuxiliaryHead(5, stride=3), IMAGE),
    (PointwiseNorm(3), IMAGE),
    (Preprocess(6, factorized=True), IMAGE),
    (RouterNet(2, 3), IMAGE),
    (SeparableConvs((3, 5), (1, 2)), IMAGE),
    (CifarStem(4), (None, 16, 16, 3)),
    (ImageNetStem(4), (None, 32, 32, 3)),
    (InvertedResidual(Block(4, 24, 4, 1, 16, True, IDENTITY)), IMAGE),
]


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=lambda value: type(value).__name__)
def test_layer_of_a_configuration_has_that_configuration_and_its_weights(layer, shape):
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    for built in (layer, again):
        built.build(shape)
    assert [(w.path, w.shape) for w in again.weights] == [(w.path, w.shape) for w in layer.weights]


@pytest.mark.parametrize("layer", [layer for layer, _ in CASES], ids=lambda v: type(v).__name__)
def test_layer_is_known_to_keras_by_its_name(layer):
    name = keras.saving.get_registered_name(type(layer))
    assert name == f"drnet_tf>{type(layer).__name__}"
    assert keras.saving.get_registered_object(name) is type(layer)


def test_cell_made_of_its_configuration_computes_the_same():
    cell = Cell(GEOMETRY, ((1, 0), (2, 1)), ("skip", "sep_conv_3x3"), seed=3)
    cell.build()
    again = Cell.from_config(json.loads(json.dumps(cell.get_config())))
    again.build()
    again.set_weights(cell.get_weights())
    inputs = np.ones((2, 8, 8, 6), "float32"), np.ones((2, 4, 4, 6), "float32")
    np.testing.assert_array_equal(cell(inputs)[0], again(inputs)[0])
