"""The PyTorch network that we measure against computes what ours does."""

import numpy as np
import pytest

from drnet_tf.models import build_model
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.objective import loss_and_metrics
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.objective import Resource
from drnet_tf.models.schedules import StepValues
from export.graphs.drnet.folding import read_weights
from export.graphs.parts import fold
from tests.export.routed_model import images_of, model_with_varied_routing

torch = pytest.importorskip("torch", reason="needs torch: requirements-benchmarks.txt")
torch_drnet = pytest.importorskip("benchmarks.torch_drnet")
torch_step = pytest.importorskip("benchmarks.torch_step")
# Sizes 15, 8, 4: uneven and even padding, factorized inputs of odd and even height.
CONFIG = DRNetConfig(image_size=15, classes=4, cells=4, channels=4, nodes=3)


def copy_weights(model, target):
    """Copies a Keras model into a `TorchDRNet`; normalizations come folded into convolutions."""
    network = read_weights(model)
    for conv, norm, weights in zip(target.stem.convs, target.stem.norms, network.stem, strict=True):
        _copy_conv(conv, norm, weights)
    for cell, weights in zip(target.cells, network.cells, strict=True):
        for layer, parts in zip(cell.preprocess, weights.preprocess, strict=True):
            for conv, part in zip(layer.pointwise, parts, strict=True):
                _assign(conv.weight, part.kernel.transpose(3, 2, 0, 1))
            _copy_bias(layer.norm, np.concatenate([part.bias for part in parts]))
        for block, separable in zip(cell.router.blocks, weights.router.blocks, strict=True):
            _copy_block(block, separable)
        _copy_dense(cell.router.dense, weights.router.dense.kernel, weights.router.dense.bias)
        for (connection, branch), applications in weights.separable.items():
            layer = cell.branches[connection][branch]
            for block, application in zip((layer.first, layer.second), applications, strict=True):
                _copy_block(block, application)
    _copy_dense(target.classifier, network.classifier.kernel, network.classifier.bias)
    head = model.auxiliary
    for conv, norm, keras_conv, keras_norm in zip(
        (target.auxiliary.reduce, target.auxiliary.expand),
        target.auxiliary.norms,
        (head.reduce, head.expand),
        head.norms,
        strict=True,
    ):
        moments = (keras_norm.gamma, keras_norm.beta)
        moments += (keras_norm.moving_mean, keras_norm.moving_variance)
        folded = fold(keras_conv.kernel.numpy(), *(v.numpy() for v in moments), keras_norm.epsilon)
        _copy_conv(conv, norm, folded)
    _copy_dense(target.auxiliary.dense, head.dense.kernel.numpy(), head.dense.bias.numpy())


def _assign(parameter, array):
    assert tuple(parameter.shape) == array.shape
    parameter.data = torch.tensor(np.ascontiguousarray(array))


def _copy_conv(conv, norm, weights):
    _assign(conv.weight, weights.kernel.transpose(3, 2, 0, 1))
    _copy_bias(norm, weights.bias)


def _copy_block(block, weights):
    _assign(block.depthwise.weight, weights.depthwise.kernel.transpose(2, 3, 0, 1))
    _copy_conv(block.pointwise, block.norm, weights.pointwise)


def _copy_bias(norm, bias):
    """A normalization that only adds: the rest is in the convolution before it."""
    _assign(norm.weight, np.ones_like(bias))
    _assign(norm.bias, bias)
    _assign(norm.running_mean, np.zeros_like(bias))
    _assign(norm.running_var, np.full_like(bias, 1 - norm.eps))


def _copy_dense(layer, kernel, bias):
    _assign(layer.weight, kernel.T)
    _assign(layer.bias, bias)


@pytest.fixture(scope="module")
def outputs():
    """Of both networks with the same weights: (logits, auxiliary logits, recalibrated)."""
    model = model_with_varied_routing(CONFIG)
    model.temperature.assign(0.7)
    images = images_of(CONFIG, 6)
    logits, routing = model(images)
    other = torch_drnet.TorchDRNet(CONFIG).eval()
    copy_weights(model, other)
    with torch.no_grad():
        theirs = other(torch.from_numpy(images).permute(0, 3, 1, 2), 0.7)
    return model, logits, routing, theirs


def test_logits_are_those_of_the_keras_network(outputs):
    _, logits, routing, theirs = outputs
    ours = (logits, routing.own["auxiliary_logits"], routing.own["recalibrated"])
    for mine, other in zip(ours, theirs, strict=True):
        mine = mine.numpy()
        assert mine.std(axis=0).max() > 1e-3 * np.abs(mine).max(), "images must differ"
        np.testing.assert_allclose(other.numpy(), mine, atol=1e-4 * np.abs(mine).max())


def test_the_loss_is_that_of_the_keras_objective(outputs):
    model, logits, routing, theirs = outputs
    labels = np.concatenate([logits.numpy().argmax(-1)[:3], [0, 1, 2]]).astype("int32")
    resource = Resource.from_cost("macs", model.cost)
    recipe = Recipe(label_smoothing=0.1, auxiliary_weight=0.3)
    loss, _ = loss_and_metrics(logits, routing, labels, resource, 0.5, 0.3, 0.1)
    branches = torch.tensor(resource.units, dtype=torch.float32)
    other = torch_step.objective(
        theirs, torch.tensor(labels).long(), branches, resource.fixed, 0.5, recipe
    )
    assert float(other) == pytest.approx(float(loss), rel=1e-4)


def test_drnet_s_has_as_many_parameters():
    model = build_model("drnet_s.cifar10")
    other = torch_drnet.TorchDRNet(model.config)
    ours = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert sum(parameter.numel() for parameter in other.parameters()) == ours


def test_a_step_lowers_the_loss_and_keeps_weights_finite():
    torch.manual_seed(0)
    config = DRNetConfig(image_size=8, classes=3, cells=1, channels=4, nodes=1)
    model = torch_drnet.TorchDRNet(config)
    resource = Resource(np.ones((1, 2, 5)), 1.0)
    step = torch_step.TorchStep(model, Recipe(), resource)
    scalars = {
        "temperature": 0.7,
        "resource_weight": 0.1,
        "drop_connection": 0.0,
        "drop_branch": 0.0,
    }
    values = StepValues(0.05, scalars, stage=2)
    images = torch.from_numpy(images_of(config, 12)).permute(0, 3, 1, 2)
    losses = [float(step(images, torch.arange(12) % 3, values)) for _ in range(20)]
    assert losses[-1] < losses[0]
