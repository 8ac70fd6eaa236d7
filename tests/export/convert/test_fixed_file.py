"""The file without routing: its branches, its answers, and what is written of it."""

import json

import numpy as np
import pytest

from drnet_tf.errors import UserError
from export.convert.branch_use import select_all
from export.convert.conversion import convert
from export.convert.fixed_file import (
    MOST_USED,
    FixedRequest,
    kept_branches,
    read_branches,
    summary,
)
from export.folder.json_schema import violations
from export.inspect import inspect_file
from export.score.image_sources import dataset_source
from export.score.scoring import score
from export.tflite.runner import TFLiteRunner
from tests.export.arrays import Arrays
from tests.export.routed_model import CLASS_NAMES, CONFIG, run_keras
from tests.layers import numpy_cell, numpy_network, numpy_reference
from tests.source_tree import ROOT

THRESHOLD = 0.5


@pytest.fixture(scope="module")
def dataset(images):
    return Arrays(CLASS_NAMES, images)


@pytest.fixture(scope="module")
def folder(exported, dataset, tmp_path_factory):
    request = FixedRequest(THRESHOLD, 2, dataset, images=5)
    output = tmp_path_factory.mktemp("static") / "exported"
    return convert(exported.trained, CLASS_NAMES, output, static=request).folder


@pytest.fixture(scope="module")
def facts(folder):
    return json.loads((folder / "model.json").read_text())["static"]


def numpy_probabilities(model, images, kept):
    """The network in numpy, with the weights of the kept branches divided by their sum."""
    x = (images.astype("float64") - CONFIG.mean) / CONFIG.deviation
    before, previous = numpy_network.cifar_stem(model.stem, x)
    for layer, mask in zip(model.cells, kept, strict=True):
        states = [
            numpy_cell.preprocess(preprocess, x)
            for preprocess, x in zip(layer.preprocess, (before, previous), strict=True)
        ]
        logits = numpy_cell.router_net(layer.router, np.concatenate(states, axis=-1))
        weights = numpy_reference.softmax(logits / float(model.temperature.numpy())) * mask
        weights /= weights.sum(axis=-1, keepdims=True)
        before, previous = previous, numpy_cell.nodes(layer, states, weights)
    return numpy_reference.softmax(numpy_network.classifier(model.classifier, previous))


def test_answers_are_those_of_the_network_in_numpy_with_that_mask(exported, folder, facts, images):
    kept = np.array(facts["kept"], bool)
    runner = TFLiteRunner(folder / "model_static.tflite")
    actual = runner.run_all(images).probabilities
    model = exported.trained.model
    expected = numpy_probabilities(model, images, kept)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)
    all_branches = numpy_probabilities(model, images, np.ones_like(kept))
    assert np.abs(actual - all_branches).max() > 1e-2


def test_has_no_if_and_only_the_image_as_its_input(folder):
    values = inspect_file(folder / "model_static.tflite")
    assert values["ifs"] == 0 and values["subgraphs"] == 1
    (signature,) = values["signatures"]
    names = [[tensor["name"] for tensor in signature[end]] for end in ("inputs", "outputs")]
    assert names == [["image"], ["logits", "probabilities"]]
    routed = inspect_file(folder / "model.tflite")
    assert values["weight_bytes"] < routed["weight_bytes"]


def test_keeps_the_branches_that_the_training_images_select_most_often(
    exported, facts, dataset, images
):
    model = exported.trained.model
    use = run_keras(model, images[:5], THRESHOLD).selected.sum(axis=0)
    kept = np.array(facts["kept"], bool)
    assert (kept.sum(axis=-1) == 2).all()
    assert (np.where(kept, use, 99).min(axis=-1) >= np.where(kept, -1, use).max(axis=-1)).all()
    assert facts["macs"] == model.cost.of_selection(kept)[1]
    assert facts["calibration"] == {"split": "train", "images": 5}
    assert dataset.read[0] == "train" and "train" not in dataset.read[1:]


def test_accuracies_are_measured_on_the_test_images(exported, folder, facts, dataset, tmp_path):
    accuracy = facts["accuracy"]
    labels = np.arange(accuracy["images"]) % len(CLASS_NAMES)
    runner = TFLiteRunner(folder / "model_static.tflite")
    answers = np.array(
        [runner.run(image).probabilities.argmax() for image in dataset.splits["test"]]
    )
    assert accuracy["static"] == np.mean(answers == labels)
    result = score(folder, dataset_source(dataset, "arrays", "test"), tmp_path / "s.csv", THRESHOLD)
    assert accuracy["routed"] == result.correct / result.images
    assert accuracy["routed_macs"] == pytest.approx(result.mean_macs)
    assert f"{100 * accuracy['static']:.2f}% of 12" in summary(facts)


def test_description_with_a_static_file_fits_the_schema(folder):
    values = json.loads((folder / "model.json").read_text())
    schema = json.loads((ROOT / "export" / "folder" / "model_schema.json").read_text())
    assert violations(values, schema) == []
    assert values["static"].keys() == schema["properties"]["static"]["properties"].keys()
    assert "model_static.tflite" in values["files"]


def test_most_used_keeps_the_mean_number_of_selected_branches_rounded_up():
    selected = np.zeros((4, 1, 2, 3), bool)
    selected[:, 0, 0] = [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]
    selected[:, 0, 1, 2] = True
    weights = np.full(selected.shape, 1 / 3)
    one = kept_branches(selected, weights, MOST_USED)
    assert one.tolist() == [[[False, True, False], [False, False, True]]]
    selected[0, 0, 1, 1] = True  # 9 branches of 8 connections
    two = kept_branches(selected, weights, MOST_USED)
    assert two.tolist() == [[[True, True, False], [False, True, True]]]
    assert kept_branches(selected, weights, 7).all()
    # Of branches that are selected equally often, the one of more weight.
    weights[:, 0, 0, 2] = 0.5
    selected[:, 0, 0, 0] = False
    assert kept_branches(selected, weights, 2)[0, 0].tolist() == [False, True, True]


def test_selection_in_batches_is_that_of_each_image(exported, images):
    many = np.concatenate([images] * 3)  # more than a batch
    selected, recalibrated = select_all(exported.trained.model, many, THRESHOLD)
    expected = run_keras(exported.trained.model, images, THRESHOLD).selected
    np.testing.assert_array_equal(selected, np.concatenate([expected] * 3))
    np.testing.assert_allclose(recalibrated.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_number_of_branches_that_makes_no_sense_is_refused(text):
    with pytest.raises(UserError, match="most_used, or how many"):
        read_branches(text)
    assert read_branches("3") == 3 and read_branches(MOST_USED) == MOST_USED
