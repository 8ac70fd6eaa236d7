"""Fine-tuning for the int8 file: what it lowers, and what it leaves alone."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.errors import UserError
from drnet_tf.models.drnet.architecture import DRNetConfig
from export.graphs.drnet.forward import DRNetGraph
from export.graphs.graph import graph_of
from export.graphs.plan import routed
from export.quantize.calibration import Ranges, tensor_ranges
from export.quantize.fine_tuning import FineTuning, Pupil, fine_tune
from export.tflite.converter import to_tflite
from tests.export.routed_model import images_of, model_with_varied_routing

SETTINGS = FineTuning(steps=40, learning_rate=2e-3, batch_size=16)
THRESHOLDS = (1.0, 0.8)
# As few convolutions as there can be in cells of both kinds: what takes time is to build the graph.
SMALL = DRNetConfig(
    image_size=8, classes=4, cells=3, channels=4, nodes=1, branches=("sep_conv_3x3", "skip")
)


@dataclasses.dataclass(frozen=True, eq=False)
class Tuned:
    """A network, its .tflite, the ranges of that; what it was tuned to, and what was reported."""

    before: DRNetGraph
    model: bytes
    ranges: Ranges
    after: DRNetGraph
    reports: list

    @property
    def arguments(self):
        return self.before, self.model, self.ranges


def _tune(*arguments):
    reports = []
    network = fine_tune(
        *arguments,
        itertools.repeat(images_of(SMALL, SETTINGS.batch_size, seed=1)),
        SETTINGS,
        THRESHOLDS,
        lambda *report: reports.append(report),
    )
    return Tuned(*arguments, network, reports)


@pytest.fixture(scope="module")
def tuned():
    graph = graph_of(model_with_varied_routing(SMALL))
    model = to_tflite(graph, routed(graph.gateable))
    ranges = tensor_ranges(model, images_of(SMALL, 12), THRESHOLDS)
    # Narrower than they are: what is clipped is an error that weights can make up for.
    narrow = {name: {k: v / 2 for k, v in span.items()} for name, span in ranges.items()}
    return _tune(graph, model, narrow)


def test_lowers_how_far_the_rounded_network_is_from_the_float_one(tuned):
    losses = [float(text.split()[-1]) for _, _, text in tuned.reports]
    assert [done for done, *_ in tuned.reports] == list(range(1, SETTINGS.steps + 1))
    for turn in range(len(THRESHOLDS)):
        of_threshold = losses[turn :: len(THRESHOLDS)]
        assert np.mean(of_threshold[-3:]) < 0.6 * of_threshold[0]


def test_loss_is_zero_where_nothing_is_rounded(tuned, monkeypatch):
    pupil = Pupil(*tuned.arguments)
    images = tf.constant(images_of(SMALL, 4))
    assert float(pupil.loss(images, tf.constant([0.5]))) > 1e-4
    monkeypatch.setattr("export.quantize.fine_tuning.round_weights", lambda graph: pupil.teacher)
    assert float(pupil.loss(images, tf.constant([0.5]))) == pytest.approx(0, abs=1e-6)


def test_routers_are_untouched_and_all_other_convolutions_tuned(tuned):
    before, after = tuned.before, tuned.after

    def changed(a, b):
        return not np.array_equal(a, b) and a.shape == b.shape and a.dtype == b.dtype

    assert changed(after.classifier.kernel, before.classifier.kernel)
    for cell, old in zip(after.cells, before.cells, strict=True):
        assert_same_router(cell.router, old.router)
        for key, parts in cell.separable.items():
            for part, old_part in zip(parts, old.separable[key], strict=True):
                assert changed(part.depthwise.kernel, old_part.depthwise.kernel)
                assert changed(part.pointwise.kernel, old_part.pointwise.kernel)


def assert_same_router(router, expected):
    assert router.dense is expected.dense
    for block, other in zip(router.blocks, expected.blocks, strict=True):
        assert block.depthwise is other.depthwise and block.pointwise is other.pointwise


def test_is_the_same_to_the_bit_for_the_same_batches(tuned):
    again = _tune(*tuned.arguments)
    assert again.reports == tuned.reports
    np.testing.assert_array_equal(again.after.classifier.kernel, tuned.after.classifier.kernel)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps of fine-tuning must be 1 or more, not 0"),
        ({"batch_size": -1}, "batch_size of fine-tuning must be 1 or more"),
        ({"learning_rate": float("nan")}, "learning_rate of fine-tuning must be a number above 0"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        FineTuning(**wrong)
