"""Recalibrated moments against NumPy, from what a normalization is given."""

import numpy as np
import pytest

from drnet_tf.architecture import DRNetConfig
from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.models import build_from_config
from drnet_tf.training.recalibration import recalibrate
from drnet_tf.training.tensorflow_step import compile_forward
from tests.layers.random_weights import randomize

CONFIG = DRNetConfig(
    image_size=9,
    classes=3,
    cells=2,
    channels=3,
    nodes=1,
    branches=("avg_pool_3x3", "sep_conv_3x3", "skip", "max_pool_3x3"),
)
THRESHOLD = 0.4


@pytest.fixture(scope="module")
def model():
    return randomize(build_from_config(CONFIG, seed=0))


@pytest.fixture(scope="module")
def batches():
    return list(np.random.default_rng(0).uniform(0, 255, (3, 4, 9, 9, 3)).astype("float32"))


def normalizations(model):
    return [layer for layer in model._flatten_layers() if isinstance(layer, BatchNorm)]


def test_the_moments_are_the_plain_average_of_those_of_the_inputs(model, batches, monkeypatch):
    moments = recalibrate(model, batches, THRESHOLD)
    # Once more by eye: each normalization written in NumPy, its input kept.
    inputs = {}

    def numpy_call(self, x, training=False):
        assert not training
        x = np.asarray(x)
        inputs.setdefault(self.path, []).append(x)
        axes = tuple(range(x.ndim - 1)) if self.groups is None else tuple(range(1, x.ndim - 1))
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
        shape = mean.shape
        gamma, beta = (np.asarray(w).reshape(shape) for w in (self.gamma, self.beta))
        return (gamma * (x - mean) / np.sqrt(variance + self.epsilon) + beta).astype("float32")

    monkeypatch.setattr(BatchNorm, "call", numpy_call)
    for images in batches:
        model(images, threshold=THRESHOLD, training=False)
    layers = normalizations(model)
    assert len(layers) > 5 and len(moments) == 2 * len(layers)
    for layer in layers:
        given = np.stack(inputs[layer.path])
        axes = tuple(range(2 if layer.groups else 1, given.ndim - 1))
        means, variances = given.mean(axes), given.var(axes)
        for variable, of_batches in (
            (layer.moving_mean, means),
            (layer.moving_variance, variances),
        ):
            expected = of_batches.mean(axis=0)
            scale = np.abs(expected).max() + 1e-3
            for actual in (moments[variable.path], np.asarray(variable)):
                np.testing.assert_allclose(actual, expected, atol=1e-3 * scale, err_msg=layer.path)


def test_it_depends_on_the_threshold_alone_and_leaves_the_model_as_in_evaluation(model, batches):
    noise = [v for v in model.variables if "float" not in v.dtype]
    seeds = [np.asarray(v) for v in noise]
    assert seeds
    first, again, all_branches = (recalibrate(model, batches, t) for t in (0.0, 0.0, 1.0))
    for path, value in first.items():
        np.testing.assert_allclose(again[path], value, atol=1e-5)
    assert any(np.abs(first[p] - all_branches[p]).max() > 1e-2 for p in first)
    for variable, seed in zip(noise, seeds, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), seed)
    # Evaluation follows nothing any more.
    compile_forward(model)(batches[0], 0.0)
    for layer in normalizations(model):
        np.testing.assert_array_equal(layer.moving_mean, all_branches[layer.moving_mean.path])
