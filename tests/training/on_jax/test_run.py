"""A run on JAX on a machine without TensorFlow, against what TensorFlow makes of its checkpoint."""

import dataclasses
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.runs.checkpoints import Checkpoint, latest_checkpoint
from drnet_tf.runs.telemetry import read_epochs
from drnet_tf.runs.workdir import Run, load_trained
from drnet_tf.training.feeds import open_feed, unaugmented_batches
from drnet_tf.training.norm_moments import set_norm_moments
from tests import source_tree

WITHOUT_TENSORFLOW = """
import importlib.util, runpy, sys
class NotThere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_datasets", "keras_cv"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotThere())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "tensorflow" else found(name, *a)
runpy.run_module("drnet_tf.train", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Workdir and data of a run."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs jax")
    folder = tmp_path_factory.mktemp("jax")
    generator, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 12), ("validation", 7), ("test", 5)):
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 8, 8, 3), "uint8")
        arrays[f"{split}_labels"] = np.arange(count, dtype="int32") % 3
    np.savez(folder / "set.npz", **arrays, class_names=np.array(["a", "b", "c"]))
    arguments = (
        *("--model=drnet_xs.digits", "--classes=3", "--image_size=8", "--cells=1", "--nodes=1"),
        *("--channels=4", "--branches=max_pool_3x3,skip", "--batch_size=4", "--flip"),
        *(f"--dataset={folder / 'set.npz'}", "--input_pipeline=device", "--epochs=2"),
        *(f"--workdir={folder / 'run'}", "--weight_average=0.001", "--norm_moments_threshold=0.5"),
    )
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *arguments],
        cwd=source_tree.ROOT,
        # Compiling is what takes long, and nothing here runs more than a few times.
        env=os.environ
        | {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_backend_optimization_level=0"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return str(folder / "run"), str(folder / "set.npz")


def test_an_average_over_less_than_a_step_is_the_last_weights(run):
    checkpoint = Checkpoint.read(latest_checkpoint(run[0]))
    assert len(checkpoint.average) > 10
    for path, value in checkpoint.average.items():
        np.testing.assert_allclose(value, checkpoint.model[path], atol=1e-5, err_msg=path)


def test_norm_moments_are_those_that_tensorflow_computes(run):
    workdir, _ = run
    model, checkpoint = load_trained(workdir).model, Checkpoint.read(latest_checkpoint(workdir))
    feed = open_feed(dataclasses.replace(Run.load(workdir), augmentation=Augmentation()))
    batches = [images for images, _ in unaugmented_batches(feed, feed.arrays, 12)]
    assert len(batches) == 3
    moments = set_norm_moments(model, batches, 0.5, lambda done: None)
    assert moments.keys() == checkpoint.norm_moments.keys()
    for path, value in moments.items():
        scale = np.abs(value).max() + 1e-3
        np.testing.assert_allclose(
            checkpoint.norm_moments[path], value, atol=1e-3 * scale, err_msg=path
        )
        assert not np.allclose(value, checkpoint.model[path], atol=1e-3 * scale)


def test_validation_accuracy_is_a_share_of_the_images_that_are_not_trained_on(run):
    rows = read_epochs(run[0])
    shares = [7 * float(row["validation_accuracy"]) for row in rows]
    assert len(shares) == 2 and shares == pytest.approx(np.round(shares), abs=1e-4)
    (result,) = evaluate_trained(load_trained(run[0]), [1.0], split="validation")
    assert result.images == 7
