"""The turns of the training benchmark, with children whose times are known."""

import importlib.util

import pytest

from benchmarks import training
from benchmarks.child_turns import Child
from drnet_tf.errors import UserError
from tests.source_tree import ROOT

SETTINGS = {"model": "drnet_s.cifar10", "batch_size": 100, "threads": 2}


class FakeChild:
    """Ours takes 1, 2, 3 s a step and the peer 4 s; others work in the second round."""

    order: list[str] = []

    def __init__(self, name, module, settings, environment):
        self.name = name
        self.turns = 0
        self.facts = {"tracing_seconds": 1.0, "first_step_seconds": 2.0, "peak_memory_bytes": 1}

    def ask(self, steps):
        self.turns += 1
        self.order.append(self.name)
        return {
            "seconds": steps * (self.turns if self.name == training.OURS else 4),
            "cpu_seconds": 2 * steps,
            "others_cores": 0.7 if self.turns == 2 else 0.01,
            "peak_memory_bytes": 5,
        }

    def close(self):
        pass


@pytest.fixture
def report(monkeypatch):
    FakeChild.order = []
    monkeypatch.setattr(training, "Child", FakeChild)
    return training.measure(SETTINGS, rounds=3, steps=2, peer=True)


def test_the_ratio_is_taken_within_each_round(report):
    assert report[training.OURS]["images_per_second"] == pytest.approx([100, 50, 100 / 3])
    assert report[training.PEER]["images_per_second"] == pytest.approx([25, 25, 25])
    assert report["ratio"] == pytest.approx([4, 2, 4 / 3])
    assert report[training.PEER]["images_per_cpu_second"] == pytest.approx([50, 50, 50])


def test_networks_take_turns_at_going_first(report):
    ours, peer = training.OURS, training.PEER
    assert FakeChild.order == [ours, peer, peer, ours, ours, peer]


def test_rounds_in_which_others_work_do_not_count(report):
    assert training.quiet_rounds(report) == [0, 2]
    table = training.speed_table(report)
    assert "2 quiet rounds of 3" in str(table.title)
    assert list(table.columns[1].cells) == ["66.7", "25.0", "2.67"]


def test_a_table_without_quiet_rounds_says_so(report):
    report["others_cores"] = [1.5, 1.5, 1.5]
    table = training.speed_table(report)
    assert "1.5 cores: not a fair comparison" in str(table.caption)
    assert list(table.columns[1].cells) == ["50.0", "25.0", "2.00"]


def test_without_torch_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"pip install {training.TORCH}, or --nopeer"):
        training.require_peer()
    assert training.TORCH in (ROOT / "requirements-benchmarks.txt").read_text().split()


def test_a_child_that_fails_is_reported_with_its_last_words():
    with pytest.raises(UserError, match="the process of X ended: .*no_such_module"):
        Child("X", "benchmarks.no_such_module", {}, {"KERAS_BACKEND": "numpy"})
