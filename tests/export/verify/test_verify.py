"""The check of an export finds what is wrong, and nothing else."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from drnet_tf.errors import UserError
from export.folder.export import Export
from export.graphs.drnet.borderline import borderline
from export.verify.verification import compare, verify
from tests.export.routed_model import CONFIG, run_keras


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported.folder, tmp_path / "copy")


def test_export_of_the_model_passes(exported, images):
    report = verify(exported.trained, exported.export, images, (0.0, 0.5, 1.0))
    assert report.ok, report.differences
    assert len(report.comparisons) == 3 * 2 + 3
    at_default = {row.runtime for row in report.comparisons if row.threshold == 0.8}
    assert at_default == {"serving_default", "classify_uint8", "classify_encoded"}
    assert all(comparison.compared == len(images) for comparison in report.comparisons)


def test_tampered_file_is_refused(copy):
    content = bytearray((copy / "model.tflite").read_bytes())
    content[-1] ^= 1
    (copy / "model.tflite").write_bytes(bytes(content))
    with pytest.raises(UserError, match="sha256"):
        Export.open(copy)


def test_description_without_what_is_needed_is_refused(copy):
    description = json.loads((copy / "model.json").read_text())
    del description["serving"]
    (copy / "model.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match="another version: export the model again"):
        Export.open(copy)


def test_missing_file_is_refused(copy):
    (copy / "labels.txt").unlink()
    with pytest.raises(UserError, match="lacks labels.txt"):
        Export.open(copy)


def test_export_of_an_earlier_step_is_refused(exported):
    later = dataclasses.replace(exported.trained, step=8)
    with pytest.raises(UserError, match="exported at step 7"):
        Export.open(exported.folder, later)


def test_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no export"):
        Export.open(tmp_path)


def test_images_of_another_size_are_refused(exported, images):
    with pytest.raises(UserError, match=r"must be \[images, 16, 16, 3\]"):
        verify(exported.trained, exported.export, images[:, :8], (0.5,))


def test_other_weights_than_those_exported_are_found(exported, images):
    bias = exported.trained.model.classifier.dense.bias
    before = bias.numpy()
    try:
        bias.assign(before + 0.5)
        report = verify(exported.trained, exported.export, images, (0.5,))
    finally:
        bias.assign(before)
    assert not report.ok
    assert any("logits differ" in line for line in report.summary)


def test_every_kind_of_difference_is_found(exported, images):
    model = exported.trained.model
    expected = run_keras(model, images, 0.5)
    never = np.zeros_like(expected.selected)

    def differences(close=never, **changed):
        actual = dataclasses.replace(expected, **changed)
        return compare("x", 0.5, expected, actual, close, model.cost).differences

    assert differences() == []
    selected = expected.selected.copy()
    selected[0, 1, 2, 3] ^= True
    flops = model.cost.of_selection(selected)[1].astype(np.float32)
    assert "selected differently" in differences(selected=selected, flops=flops)[0]
    assert "MACs of 12 images" in differences(flops=expected.flops + 2)[0]
    assert "logits differ" in differences(logits=expected.logits + np.float32("nan"))[0]
    assert "probabilities differ" in differences(probabilities=expected.probabilities + 1e-3)[0]


def test_flip_on_the_border_is_counted_and_excuses_only_what_follows(exported, images):
    model = exported.trained.model
    expected = run_keras(model, images, 0.5)
    close = np.zeros_like(expected.selected)
    close[0, 1, 2, 3] = True
    selected, logits = expected.selected.copy(), expected.logits.copy()
    selected[0, 1, 2, 3] ^= True  # on the border
    selected[0, 2, 0, 0] ^= True  # behind it
    logits[0] += 1
    flops = model.cost.of_selection(selected)[1].astype(np.float32)
    actual = dataclasses.replace(expected, selected=selected, logits=logits, flops=flops)
    result = compare("x", 0.5, expected, actual, close, model.cost)
    assert (result.flipped, result.borderline, result.compared) == (1, 1, len(images) - 1)
    assert not result.differences
    selected[0, 0, 0, 0] ^= True  # in front of it
    assert compare("x", 0.5, expected, actual, close, model.cost).wrong_selections == 1


def test_borderline_is_a_sum_near_the_threshold_or_a_near_tie():
    weights = np.array([0.5, 0.3, 0.2])
    assert borderline(weights, 0.5 + 5e-6).tolist() == [False, True, False]
    assert borderline(weights, 0.6).tolist() == [False, False, False]
    # Which of the first two comes first hangs on rounding, and so does which is selected alone.
    assert borderline(np.array([0.4, 0.4 - 1e-6, 0.2]), 0.1).tolist() == [True, True, False]
    # An exact tie goes to the lower index everywhere.
    assert borderline(np.array([0.4, 0.4, 0.2]), 0.1).tolist() == [False, False, False]
    assert not borderline(np.full(CONFIG.connections, 0.25), 1.0).any()
    assert not borderline(weights, float("nan")).any()
