"""Norm moments against NumPy, from what a normalization is given."""

import numpy as np
import pytest

from drnet_tf.backends.tensorflow import compile_forward
from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.pointwise_norm import PointwiseNorm
from drnet_tf.models import build_from_config
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.training.norm_moments import set_norm_moments
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
    moments = set_norm_moments(model, batches, THRESHOLD, lambda done: None)
    # Once more by eye: each normalization written in NumPy, what it normalizes kept.
    inputs = {}

    def scale_and_offset(layer, y, member=()):
        axes = tuple(range(y.ndim - 1))
        mean, variance = y.mean(axes), y.var(axes)
        inputs.setdefault((layer.path, member), []).append((mean, variance))
        scale = np.asarray(layer.gamma)[member] / np.sqrt(variance + layer.epsilon)
        return scale, np.asarray(layer.beta)[member] - mean * scale

    def numpy_call(self, x, training=False):
        assert not training
        scale, offset = scale_and_offset(self, np.asarray(x))
        return (np.asarray(x) * scale + offset).astype("float32")

    def numpy_fold(self, xs, kernels, training=False):
        assert not training
        kernels = np.asarray(kernels)
        folded = [
            scale_and_offset(self, np.asarray(x) @ kernels[member], member)
            for member, x in enumerate(xs)
        ]
        scales, offsets = (np.stack(part).astype("float32") for part in zip(*folded, strict=True))
        return kernels * scales[:, None], offsets

    monkeypatch.setattr(BatchNorm, "call", numpy_call)
    monkeypatch.setattr(PointwiseNorm, "call", numpy_fold)
    for images in batches:
        model(images, threshold=THRESHOLD, training=False)
    layers = {layer.path: layer for layer in normalizations(model)}
    assert len(layers) > 5 and len(moments) == 2 * len(layers)
    assert {path for path, _ in inputs} == set(layers)
    for (path, member), of_batches in inputs.items():
        layer = layers[path]
        for variable, values in zip(
            (layer.moving_mean, layer.moving_variance), zip(*of_batches, strict=True), strict=True
        ):
            expected = np.mean(values, axis=0)
            scale = np.abs(expected).max() + 1e-3
            for actual in (moments[variable.path][member], np.asarray(variable)[member]):
                np.testing.assert_allclose(actual, expected, atol=1e-3 * scale, err_msg=path)


def test_it_depends_on_the_threshold_alone_and_leaves_the_model_as_in_evaluation(model, batches):
    noise = [v for v in model.variables if "float" not in v.dtype]
    seeds = [np.asarray(v) for v in noise]
    assert seeds
    first, again, all_branches = (
        set_norm_moments(model, batches, t, lambda done: None) for t in (0.0, 0.0, 1.0)
    )
    for path, value in first.items():
        np.testing.assert_allclose(again[path], value, atol=1e-5)
    assert any(np.abs(first[p] - all_branches[p]).max() > 1e-2 for p in first)
    for variable, seed in zip(noise, seeds, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), seed)
    # Evaluation follows nothing any more.
    compile_forward(model)(batches[0], 0.0)
    for layer in normalizations(model):
        np.testing.assert_array_equal(layer.moving_mean, all_branches[layer.moving_mean.path])
