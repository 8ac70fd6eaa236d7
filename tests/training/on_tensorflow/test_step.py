"""A training step on TensorFlow, against NumPy's SGD and against itself on two devices."""

import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from drnet_tf.models import build_model
from drnet_tf.models.drnet.objective import make_objective
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.objective import Resource
from drnet_tf.models.schedules import StepValues
from drnet_tf.training.on_tensorflow.step import TrainingStep
from tests.source_tree import ROOT

VALUES = StepValues(
    learning_rate=0.1,
    scalars={
        "temperature": 0.7,
        "resource_weight": 0.5,
        "drop_connection": 0.0,
        "drop_branch": 0.0,
    },
    stage=2,
)


class ArrayFeed:
    """Batches as they are."""

    arrays = ()
    per_image = (True, True)

    def prepare(self, arrays, images, labels):
        return images, labels


def tiny_model():
    keras.utils.set_random_seed(3)
    return build_model(
        "drnet_xs.digits",
        seed=0,
        image_size=8,
        cells=1,
        channels=4,
        nodes=1,
        branches=("sep_conv_3x3", "max_pool_3x3", "skip"),
        recalibration="softmax",  # no noise, which is of each replica
    )


def batch():
    generator = np.random.default_rng(5)
    images = generator.uniform(0, 255, (8, 8, 8, 3)).astype("float32")
    return images, (np.arange(8) % 10).astype("int32")


def make_step(model, recipe, strategy=None):
    objective = make_objective(recipe, Resource.from_cost("macs", model.cost))
    return TrainingStep(model, recipe, objective, ArrayFeed(), strategy)


def weights_after(steps, recipe):
    model = tiny_model()
    step = make_step(model, recipe)
    before = [np.asarray(v) for v in model.trainable_variables]
    for _ in range(steps):
        metrics = step(batch(), VALUES)
    return before, [np.asarray(v) for v in model.trainable_variables], metrics


def test_weight_decay_is_added_to_the_gradient():
    plain = Recipe(weight_decay=0.0, clip_norm=0.0)
    decaying = Recipe(weight_decay=0.25, clip_norm=0.0)
    before, without, _ = weights_after(1, plain)
    _, with_decay, _ = weights_after(1, decaying)
    for w, a, b in zip(before, without, with_decay, strict=True):
        np.testing.assert_allclose(a - b, 0.1 * 0.25 * w, atol=2e-6)


def test_clipping_limits_the_global_norm_of_the_step():
    before, after, _ = weights_after(1, Recipe(weight_decay=0.0, clip_norm=0.01))
    norm = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(before, after, strict=True)))
    assert norm == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_momentum_carries_the_last_step_on():
    recipe = Recipe(weight_decay=0.0, clip_norm=0.0, momentum=0.9)
    model = tiny_model()
    step = make_step(model, recipe)
    points = [[np.asarray(v) for v in model.trainable_variables]]
    step(batch(), VALUES)
    points.append([np.asarray(v) for v in model.trainable_variables])
    # With a learning rate of zero nothing is added but momentum, which SGD keeps in its velocity.
    step(batch(), dataclasses.replace(VALUES, learning_rate=1e-12))
    points.append([np.asarray(v) for v in model.trainable_variables])
    for start, first, second in zip(*points, strict=True):
        np.testing.assert_allclose(second - first, 0.9 * (first - start), atol=1e-6)


def test_the_step_sets_the_temperature_and_lowers_the_loss():
    _, _, first = weights_after(1, Recipe())
    model = tiny_model()
    step = make_step(model, Recipe())
    for _ in range(12):
        last = step(batch(), VALUES)
    assert float(model.temperature.numpy()) == np.float32(0.7)
    assert float(last["loss"]) < float(first["loss"])


TWO_DEVICES = """
import sys, json
import numpy as np, tensorflow as tf
from tests.training.on_tensorflow import test_step as case
from drnet_tf.models.drnet.recipe import Recipe
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model = case.tiny_model()
step = case.make_step(model, Recipe(), strategy)
for _ in range(2):
    metrics = step(case.batch(), case.VALUES)
np.savez(sys.argv[1], **{v.path: np.asarray(v) for v in model.variables if "seed" not in v.path})
def local(value):
    return [np.asarray(v).tolist() for v in strategy.experimental_local_results(value)]
cell = model.cells[0]
draw = tf.function(
    lambda: (cell.recalibration.noise.next(), cell.drop_routing.draws.next()), autograph=False
)
print(json.dumps({
    "loss": float(metrics["loss"]),
    "seeds": [[local(seed) for seed in strategy.run(draw)] for _ in range(2)],
    "states": local(cell.recalibration.noise.state.value),
    "stop": [float(step(case.batch(), case.VALUES, stop=stop)["stop"]) for stop in (False, True)],
}))
"""


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    """What two devices say, and the file with their weights."""
    path = tmp_path_factory.mktemp("two devices") / "two.npz"
    result = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1]), path


def test_two_devices_give_the_same_step_as_one(two_devices):
    both, path = two_devices
    model = tiny_model()
    step = make_step(model, Recipe())
    for _ in range(2):
        metrics = step(batch(), VALUES)
    assert both["loss"] == pytest.approx(float(metrics["loss"]), rel=1e-4)
    with np.load(path) as values:
        for variable in model.variables:
            if "seed" in variable.path:
                continue
            np.testing.assert_allclose(
                np.asarray(variable),
                values[variable.path],
                rtol=1e-3,
                atol=2e-4,
                err_msg=variable.path,
            )


def test_each_device_draws_numbers_of_its_own_from_one_state(two_devices):
    said, _ = two_devices
    # Two draws of two generators on two devices.
    seeds = {tuple(seed) for draw in said["seeds"] for both in draw for seed in both}
    assert len(seeds) == 8
    assert said["states"][0] == said["states"][1]


def test_a_step_tells_every_process_that_one_asked_to_stop(two_devices):
    none, asked = two_devices[0]["stop"]
    assert none == 0.0 and asked > 0.0
