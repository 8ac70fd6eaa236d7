"""The .tflite file that a version before there were families made of tests/runs/earlier/run."""

import numpy as np
import pytest

from drnet_tf.runs.workdir import load_trained
from export.graphs.graph import graph_of
from export.graphs.plan import routed
from export.tflite.converter import to_tflite
from export.tflite.operators import count_operators
from export.tflite.runner import TFLiteRunner
from tests.source_tree import ROOT

EARLIER = ROOT / "tests" / "runs" / "earlier"


@pytest.fixture(scope="module")
def converted():
    graph = graph_of(load_trained(str(EARLIER / "run")).model)
    return to_tflite(graph, routed(graph.gateable))


def test_file_of_today_consists_of_the_same_operators(converted):
    before = (EARLIER / "export" / "model.tflite").read_bytes()
    assert count_operators(converted) == count_operators(before)
    assert len(converted) == pytest.approx(len(before), rel=0.01)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8, 1.0])
def test_file_of_today_gives_the_same_to_the_bit(converted, threshold):
    with np.load(EARLIER / "expected.npz") as file:
        images = file["images"].astype("float32")
    before = TFLiteRunner(EARLIER / "export" / "model.tflite").run_all(images, threshold)
    today = TFLiteRunner(converted).run_all(images, threshold)
    for name in ("logits", "probabilities", "selected", "flops"):
        np.testing.assert_array_equal(getattr(today, name), getattr(before, name))
