"""The choice of devices, and what processes that share a run tell each other."""

import json
import math
import socket
import types

import pytest

from drnet_tf.errors import Stopped, UserError
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.schedules import StepValues
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.checkpoints import list_checkpoints
from drnet_tf.training import loop
from drnet_tf.training.on_jax import placement as jax_placement
from drnet_tf.training.on_tensorflow import placement as tensorflow_placement
from drnet_tf.training.placement import Placement, check_port

TWO_WORKERS = '{"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": %s}'


@pytest.mark.parametrize(
    ("config", "distribution", "says"),
    [
        ("", "multiworker", "needs a TF_CONFIG with several workers"),
        ("worker 0 of 2", "auto", "TF_CONFIG must be as"),
        ('{"cluster": ["localhost:1"]}', "auto", "TF_CONFIG must be as"),
        (TWO_WORKERS % '{"type": "ps", "index": 0}', "auto", "TF_CONFIG must be as"),
        (TWO_WORKERS % '{"type": "worker", "index": 2}', "auto", "TF_CONFIG must be as"),
    ],
)
def test_devices_that_are_not_there_are_refused(monkeypatch, config, distribution, says):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=says):
        tensorflow_placement.place(distribution, batch_size=8)


def test_without_a_cluster_or_gpus_one_process_does_all(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    placement = tensorflow_placement.place("auto", batch_size=7)
    assert (placement.chief, placement.processes) == (True, 1)


@pytest.fixture
def held_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_port_that_another_process_holds_is_refused_by_tensorflow(monkeypatch, held_port):
    cluster = {"worker": ["elsewhere:1", f"localhost:{held_port}"]}
    task = {"type": "worker", "index": 1}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    with pytest.raises(UserError, match=f"port {held_port} of TF_CONFIG .Address already in use"):
        tensorflow_placement.place("auto", batch_size=8)


def test_port_that_another_process_holds_is_refused_by_jax(monkeypatch, held_port):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", f"localhost:{held_port}")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    with pytest.raises(UserError, match=f"port {held_port} of JAX_COORDINATOR_ADDRESS"):
        jax_placement.place("auto", batch_size=8)


def test_free_port_passes_and_what_is_no_port_does_not():
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    check_port(f"host:{port}", "TF_CONFIG")
    for address in ("host", "host:", "host:http", "host:0", "host:70000"):
        with pytest.raises(UserError, match="TF_CONFIG must name processes as HOST:PORT, not host"):
            check_port(address, "TF_CONFIG")


def test_the_chief_is_numbered_before_the_workers(monkeypatch):
    cluster = '{"cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]}, "task": %s}'
    for task, number in (("chief", 0), ("worker", 1)):
        monkeypatch.setenv("TF_CONFIG", cluster % f'{{"type": "{task}", "index": 0}}')
        assert tensorflow_placement._workers() == (["a:1", "b:1", "c:1"], number)


def test_processes_that_train_something_else_are_refused():
    other = {"seed 1": 7}
    placement = Placement(processes=2, gather=lambda number: [number, other["seed 1"]])
    with pytest.raises(UserError, match="the 2 processes of this run differ in what they train"):
        placement.agree("what they train", "seed 2")
    Placement(processes=2, gather=lambda number: [number, number]).agree("all", "seed 2")


@pytest.mark.parametrize("error", [None, Stopped("stopped")])
def test_no_process_leaves_before_the_others(error):
    waited = []
    placement = Placement(processes=2, gather=waited.append)
    try:
        with placement.together():
            if error is not None:
                raise error
    except Stopped:
        pass
    assert len(waited) == 1


def test_a_lost_process_is_named_as_the_reason_and_other_errors_pass():
    placement = Placement(processes=2, lost=(ConnectionError,))
    with (
        pytest.raises(UserError, match="repeat the commands of all of them.*reset by peer"),
        placement.together(),
    ):
        raise ConnectionError("recv:\nreset by peer")
    with pytest.raises(ZeroDivisionError), placement.together():
        raise ZeroDivisionError


class TwoProcessStep:
    """Steps that do nothing; in the third the other process asks to stop."""

    optimizer = types.SimpleNamespace(variables=[])
    model = types.SimpleNamespace(variables=[], controls={})

    def __init__(self):
        self.steps = 0

    def __call__(self, batch, values, stop):
        self.steps += 1
        metrics = {"loss": 1.0, "accuracy": 0.0, "expected_macs": 0.0}
        return metrics | {"stop": 0.5 if self.steps == 3 else 0.0}

    def sync(self):
        pass


class FiveBatches:
    steps_per_epoch = 5

    def batches(self, epoch, done):
        return [()] * (self.steps_per_epoch - done)


@pytest.mark.parametrize("process", [0, 1])
@pytest.mark.parametrize("seconds", [float("inf"), -1.0])  # between checkpoints
def test_all_processes_stop_at_one_step_and_the_chief_alone_writes(tmp_path, process, seconds):
    placement = Placement(process=process, processes=2)
    with pytest.raises(Stopped, match="after step 4"):
        loop.train(
            TwoProcessStep(),
            lambda step: StepValues(0.1),
            Recipe(batch_size=1, stage1_epochs=2, stage2_epochs=1),
            FiveBatches(),
            str(tmp_path),
            ProgressBar("training", patience=math.inf),
            checkpoint_seconds=seconds,
            placement=placement,
        )
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names[-1:] == (["step-000000004.npz"] if process == 0 else [])
    assert any(tmp_path.iterdir()) == (process == 0)
