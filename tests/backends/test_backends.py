"""The same weights compute the same on the TensorFlow and the JAX backend."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.models import build_from_config
from drnet_tf.models.drnet.architecture import DRNetConfig
from tests import source_tree
from tests.layers.random_weights import randomize

CONFIG = DRNetConfig(
    image_size=9,
    classes=3,
    cells=2,
    channels=3,
    nodes=1,
    recalibration="softmax",
    branches=("avg_pool_3x3", "sep_conv_3x3", "skip", "max_pool_3x3"),
)

# Compiling is what takes long, and nothing here runs more than once.
XLA_FLAGS = "--xla_backend_optimization_level=0"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What TensorFlow and what JAX compute, by name."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs jax")
    folder = tmp_path_factory.mktemp("backends")
    model = randomize(build_from_config(CONFIG))
    generator = np.random.default_rng(2)
    inputs = {
        "images": generator.integers(0, 256, (5, 9, 9, 3)).astype("float32"),
        "target": generator.normal(0, 1, (5, 3)).astype("float32"),
        "auxiliary": generator.normal(0, 1, (5, 3)).astype("float32"),
        "threshold": np.array([0.0, 0.3, 0.5, 0.8, 1.0], "float32"),
    }
    weights = {w.path: np.asarray(w) for w in model.weights if "float" in w.dtype}
    config = json.dumps(CONFIG.to_dict())
    np.savez(folder / "exchange.npz", config=config, **inputs, **weights)
    program = [sys.executable, "-m", "tests.models.jax_gradients", "exchange.npz", "result.npz"]
    process = subprocess.Popen(
        program,
        cwd=folder,
        env=os.environ
        | {
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": str(source_tree.ROOT),
            "XLA_FLAGS": XLA_FLAGS,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        on_tensorflow = _on_tensorflow(model, **inputs)
        printed, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    with np.load(folder / "result.npz") as arrays:
        return on_tensorflow, dict(arrays)


def _on_tensorflow(model, images, target, auxiliary, threshold):
    logits, routing = model(images, threshold=threshold)
    with tf.GradientTape() as tape:
        trained, trained_routing = model(images, training=True)
        loss = tf.reduce_sum(trained * target)
        loss += tf.reduce_sum(trained_routing.own["auxiliary_logits"] * auxiliary)
        loss += tf.reduce_mean(trained_routing.own["expected_macs"]) * 1e-4
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_variables])
    results = {"logits": logits, "selected": routing.selected, "trained_logits": trained}
    for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
        results["gradient of " + weight.path] = gradient
    for weight in model.non_trainable_variables:
        if "moving" in weight.path:
            results["after " + weight.path] = weight.value
    return {name: np.asarray(value) for name, value in results.items()}


def _assert_close(actual, expected, name):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=2e-4 * scale, err_msg=name)


def test_logits_are_the_same(results):
    on_tensorflow, on_jax = results
    for name in ("logits", "trained_logits"):
        assert np.abs(on_tensorflow[name]).max() > 0.1
        _assert_close(on_jax[name], on_tensorflow[name], name)


def test_selections_are_the_same(results):
    on_tensorflow, on_jax = results
    assert len({int(selected.sum()) for selected in on_tensorflow["selected"]}) == 5
    np.testing.assert_array_equal(on_jax["selected"], on_tensorflow["selected"])


@pytest.mark.parametrize("kind", ["gradient of ", "after "])
def test_gradients_and_moving_moments_are_the_same(results, kind):
    on_tensorflow, on_jax = results
    assert on_tensorflow.keys() == on_jax.keys()
    names = [name for name in on_tensorflow if name.startswith(kind)]
    assert len(names) > 20
    largest = max(np.abs(on_tensorflow[name]).max() for name in names)
    for name in names:
        # Where normalization follows, a sum of gradients can be zero but for rounding.
        expected = on_tensorflow[name]
        scale = max(np.abs(expected).max(), 1e-3 * largest)
        np.testing.assert_allclose(on_jax[name], expected, atol=2e-4 * scale, err_msg=name)
