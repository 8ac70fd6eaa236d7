"""Runs over several devices and processes, and runs that another backend uses."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from drnet_tf import train, training_flags
from drnet_tf.runs.checkpoints import list_checkpoints
from drnet_tf.runs.workdir import load_trained
from export.convert.conversion import convert
from tests.source_tree import ROOT
from tests.training.on_jax.jax_devices import evaluation

pytestmark = pytest.mark.slow

TINY = [
    "--model=drnet_xs.digits",
    "--input_pipeline=device",
    "--classes=3",
    "--image_size=8",
    "--cells=1",
    "--channels=4",
    "--nodes=1",
    "--branches=sep_conv_3x3,max_pool_3x3,skip",
    "--batch_size=16",
    "--learning_rate1=0.01",
    "--learning_rate2=0.01",
]

# On TensorFlow, each replica draws numbers of its own: without any, two do what one does.
WITHOUT_DRAWS = ["--recalibration=softmax", "--drop_connection=0", "--drop_branch=0"]
LONG = ["--stage1_epochs=5", "--stage2_epochs=2", "--checkpoint_minutes=0.0001"]
SHORT = ["--stage1_epochs=1", "--stage2_epochs=1", "--crop_padding=2", "--flip", "--cutout=3"]
# Compiling is what takes long.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=2"
# What the processes that remain may take to end once one is lost; some 10 seconds were seen.
SECONDS_TO_END = 100


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    generator = np.random.default_rng(0)
    arrays = {"class_names": np.array(["a", "b", "c"])}
    for split, count in (("train", 48), ("test", 60)):
        labels = (np.arange(count) % 3).astype("int32")
        pixels = generator.integers(0, 170, (count, 8, 8, 3)) + 40 * labels[:, None, None, None]
        arrays |= {f"{split}_images": pixels.astype("uint8"), f"{split}_labels": labels}
    path = tmp_path_factory.mktemp("data") / "set.npz"
    np.savez(path, **arrays)
    return f"--dataset={path}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory, dataset):
    """The workdir of a run of one process on TensorFlow."""
    workdir = tmp_path_factory.mktemp("alone")
    with flagsaver.flagsaver():
        if "workdir" not in flags.FLAGS:
            training_flags.define_flags()
        arguments = [*TINY, *WITHOUT_DRAWS, *LONG, dataset, f"--workdir={workdir}"]
        flags.FLAGS(["program", *arguments])
        train.train_from_flags()
    return workdir


def assert_same_weights(workdir, other, atol):
    with np.load(list_checkpoints(workdir)[-1]) as a, np.load(list_checkpoints(other)[-1]) as b:
        assert a["step"] == b["step"] and set(a.files) == set(b.files)
        for name in a.files:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-3, atol=atol, err_msg=name)


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Workers:
    """Two processes that share a run, each of one CPU device."""

    def __init__(self, arguments, logs):
        self.command = [sys.executable, "-m", "drnet_tf.train", *arguments]
        self.cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
        self.logs = logs

    def start(self):
        return [self._start(index) for index in range(2)]

    def _start(self, index):
        config = {"cluster": self.cluster, "task": {"type": "worker", "index": index}}
        with self.log(index).open("w") as log:
            return subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=os.environ | {"TF_CONFIG": json.dumps(config)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def log(self, index):
        return self.logs / f"worker-{index}.log"


def test_two_processes_train_as_one_though_the_chief_is_killed(alone, dataset, tmp_path):
    workdir = tmp_path / "shared"
    arguments = [*TINY, *WITHOUT_DRAWS, *LONG, dataset, f"--workdir={workdir}"]
    workers = Workers(arguments, tmp_path)
    chief, other = processes = workers.start()
    try:
        deadline = time.monotonic() + 200
        while not list_checkpoints(workdir) and time.monotonic() < deadline:
            assert chief.poll() is None, workers.log(0).read_text()[-3000:]
            time.sleep(0.005)
        os.kill(chief.pid, signal.SIGKILL)
        assert other.wait(SECONDS_TO_END) not in (0, None)
        assert "cannot continue with the others" in workers.log(1).read_text()
        assert chief.wait() == -signal.SIGKILL
        killed_at = int(list_checkpoints(workdir)[-1].stem.removeprefix("step-"))
        assert 0 < killed_at < 21
        processes += workers.start()
        for index, process in enumerate(processes[2:]):
            assert process.wait(200) == 0, workers.log(index).read_text()[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert_same_weights(alone, workdir, atol=2e-3)
    assert sorted(path.name for path in workdir.iterdir()) == sorted(
        path.name for path in alone.iterdir()
    )


@pytest.fixture(scope="module")
def on_jax(alone, dataset, tmp_path_factory):
    """Workdirs of runs on one and on two devices, and evaluations of the first and of `alone`."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs jax")
    folder = tmp_path_factory.mktemp("jax")
    one, two = folder / "one", folder / "two"
    program = [
        sys.executable,
        "-m",
        "tests.training.on_jax.jax_devices",
        str(one),
        str(two),
        str(alone),
    ]
    result = subprocess.run(
        [*program, *TINY, *SHORT, dataset],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": XLA_FLAGS},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return one, two, *json.loads(result.stdout.splitlines()[-1])


def test_on_jax_two_devices_train_as_one_with_noise_drops_and_augmentation(on_jax):
    one, two, *_ = on_jax
    assert_same_weights(one, two, atol=2e-4)


def assert_same_evaluation(results, others):
    assert len({str(result["selected"]) for result in results}) == 3  # one for each threshold
    for result, other in zip(results, others, strict=True):
        assert result.pop("macs") == pytest.approx(other.pop("macs"))
        assert result.pop("params") == pytest.approx(other.pop("params"))
        assert result == other


def test_what_tensorflow_trained_jax_evaluates_to_the_same(alone, on_jax):
    assert_same_evaluation(evaluation(str(alone)), on_jax[3])


def test_what_jax_trained_tensorflow_evaluates_to_the_same(on_jax):
    assert_same_evaluation(evaluation(str(on_jax[0])), on_jax[2])


def test_what_jax_trained_on_two_devices_exports(on_jax, tmp_path):
    result = convert(load_trained(str(on_jax[1])), ["a", "b", "c"], tmp_path / "exported")
    assert result.description["operators"]["IF"] > 0
