"""Fine-tuning for the int8 file: what it lowers, and what it leaves alone."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.errors import UserError
from export.calibration import tensor_ranges
from export.fine_tuning import FineTuning, Pupil, fine_tune
from export.structure import ROUTED
from export.tflite import TFLiteRunner, to_tflite
from export.weights import read_weights
from tests.export.routed_model import CONFIG, images_of

SETTINGS = FineTuning(steps=20, learning_rate=3e-4, batch_size=16)
THRESHOLDS = (1.0, 0.5)


@dataclasses.dataclass(frozen=True, eq=False)
class Tuned:
    arguments: tuple
    network: object
    reports: list


def _tune(arguments, **changes):
    reports = []
    batch = images_of(CONFIG, SETTINGS.batch_size, seed=1)
    network = fine_tune(
        *arguments,
        itertools.repeat(batch),
        dataclasses.replace(SETTINGS, **changes),
        THRESHOLDS,
        lambda *report: reports.append(report),
    )
    return Tuned(arguments, network, reports)


@pytest.fixture(scope="module")
def tuned(exported, images):
    model = (exported.folder / "model.tflite").read_bytes()
    network = read_weights(exported.trained.model)
    return _tune((network, model, tensor_ranges(model, images, THRESHOLDS)))


def test_lowers_how_far_the_rounded_network_is_from_the_float_one(tuned):
    losses = [float(text.split()[-1]) for _, _, text in tuned.reports]
    assert [done for done, *_ in tuned.reports] == list(range(1, SETTINGS.steps + 1))
    for turn in range(len(THRESHOLDS)):
        of_threshold = losses[turn :: len(THRESHOLDS)]
        assert np.mean(of_threshold[-3:]) < 0.8 * np.mean(of_threshold[:3])


def test_loss_is_zero_where_nothing_is_rounded(tuned, monkeypatch):
    pupil = Pupil(*tuned.arguments)
    images = tf.constant(images_of(CONFIG, 4))
    assert float(pupil.loss(images, tf.constant([0.5]))) > 1e-4
    monkeypatch.setattr("export.fine_tuning.round_weights", lambda network: pupil.teacher)
    assert float(pupil.loss(images, tf.constant([0.5]))) == pytest.approx(0, abs=1e-6)


def test_routers_are_untouched_and_all_other_convolutions_tuned(tuned):
    before = tuned.arguments[0]

    def changed(a, b):
        return not np.array_equal(a, b) and a.shape == b.shape and a.dtype == b.dtype

    assert changed(tuned.network.classifier.kernel, before.classifier.kernel)
    for cell, old in zip(tuned.network.cells, before.cells, strict=True):
        assert cell.router is old.router
        for key, parts in cell.separable.items():
            for part, old_part in zip(parts, old.separable[key], strict=True):
                assert changed(part.depthwise, old_part.depthwise)
                assert changed(part.pointwise.kernel, old_part.pointwise.kernel)


def test_is_the_same_to_the_bit_for_the_same_batches(tuned):
    again = _tune(tuned.arguments)
    assert again.reports == tuned.reports
    np.testing.assert_array_equal(again.network.classifier.kernel, tuned.network.classifier.kernel)


def test_tuned_network_is_in_float_and_converts(tuned, images):
    model = to_tflite(tuned.network, ROUTED)
    exact = TFLiteRunner(tuned.arguments[1]).run_all(images, 1.0).logits
    actual = TFLiteRunner(model).run_all(images, 1.0).logits
    assert 0 < np.abs(actual - exact).max() / np.abs(exact).max() < 0.1


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
