"""Any image and threshold, and many invocations; and that what goes wrong is noticed."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from drnet_tf.errors import UserError
from export.convert.conversion import convert
from export.convert.fixed_file import FixedRequest
from export.folder.description import describe_file
from export.folder.export import Export
from export.graphs.graph import graph_of
from export.graphs.plan import routed
from export.quantize.quantization import QUICK, quantize
from export.stress import process as stress_process
from export.stress.endurance import StressResult, allowed_growth, stress
from export.stress.process import BEYOND, KINDS, NOT_FINITE, PIXELS, faults, make_input
from export.tflite.child_process import run_child
from export.tflite.converter import to_tflite
from export.tflite.runner import TFLiteRunner
from tests.export.arrays import Arrays
from tests.export.routed_model import CLASS_NAMES, images_of

SHAPE = (1, 16, 16, 3)


@pytest.fixture(scope="module")
def everything(exported, images, tmp_path_factory):
    """An export with a static file and all quantizations."""
    folder = tmp_path_factory.mktemp("stress") / "export"
    request = FixedRequest(0.5, 2, Arrays(CLASS_NAMES, images), images=5)
    export = convert(exported.trained, CLASS_NAMES, folder, static=request)
    return quantize(exported.trained, export, QUICK, images)


@pytest.mark.slow
def test_ten_thousand_inputs_and_many_invocations_of_the_float32_file(exported):
    (result,) = stress(exported.export, inputs=10_000, invocations=20_000)
    assert result.faults == []
    assert result.images == {PIXELS: 5000, BEYOND: 2500, NOT_FINITE: 2500}
    assert result.unanswered[PIXELS] == 0
    # A pixel that is not a finite number leaves none of this model's probabilities finite.
    assert result.unanswered[NOT_FINITE] == 2500


def test_every_file_of_an_export_passes(everything):
    steps = []
    results = stress(everything, 400, 1000, 1, lambda *report: steps.append(report))
    assert [result.file for result in results] == ["float32", *QUICK, "static"]
    assert [result.faults for result in results] == [[]] * 5
    # Quantized to int8, NaN is a number like any other.
    assert [result.unanswered[NOT_FINITE] for result in results] == [100, 100, 100, 0, 100]
    assert steps[-1] == (7000, 7000, "static")


def test_inputs_are_what_their_kind_says_and_come_again():
    inputs = [make_input(3, index, SHAPE) for index in range(400)]
    for kind in KINDS:
        of_kind = [given for given in inputs if given.kind == kind]
        images = np.stack([given.image for given in of_kind])
        thresholds = [given.threshold for given in of_kind]
        assert images.dtype == np.float32 and images.shape[1:] == SHAPE
        finite = np.isfinite(images).all(axis=(1, 2, 3, 4))
        assert finite.all() if kind != NOT_FINITE else not finite.any()
        for of in (np.isnan, np.isposinf, np.isneginf, lambda t: t < 0, lambda t: t > 1):
            assert any(of(threshold) for threshold in thresholds)
        if kind == PIXELS:
            assert images.min() == 0 and images.max() == 255
        elif kind == BEYOND:
            assert images.min() < -1e20 and 1e20 < images.max() <= 1.001e30
        else:
            for of in (np.isnan, np.isposinf, np.isneginf):
                assert of(images).any()
    again = make_input(3, 7, SHAPE)
    np.testing.assert_array_equal(again.image, inputs[7].image)
    assert not np.array_equal(make_input(4, 0, SHAPE).image, inputs[0].image)


def test_every_wrong_answer_is_a_fault():
    image = np.zeros(SHAPE, np.float32)
    even, nan = np.full((1, 4), 0.25, np.float32), np.full((1, 4), np.nan, np.float32)
    one = np.eye(5, dtype=np.float32)[None, :4]  # 1 cell, 4 connections, 5 branches
    every, first_lost = np.ones_like(one), one * np.array([0, 1, 1, 1])[:, None]

    of_drnet = stress_process.Rules(1.0, "work", choices=True)

    def found(kind, threshold, probabilities, selected, rules=of_drnet):
        given = stress_process.Input(kind, image, threshold)
        return faults(given, probabilities, selected, rules)

    assert found(PIXELS, 0.5, even, one) == ([], True)
    assert found(PIXELS, 0.5, even, None) == ([], True)
    assert found(PIXELS, 0.5, nan, one) == (["probabilities are not finite"], False)
    assert found(BEYOND, 0.5, nan, one) == ([], False)
    assert found(NOT_FINITE, 0.5, nan, every) == ([], False)
    for kind in (PIXELS, BEYOND):
        assert found(kind, 0.5, even * 1.01, one)[0] == ["probabilities do not sum to 1"]
    for kind in KINDS:
        assert found(kind, 0.5, even, first_lost)[0] == ["a connection selects no branch"]
        text = "a unit is neither selected nor left out"
        assert found(kind, 0.5, even, one * np.nan)[0] == [text]
    assert "not select all" in found(PIXELS, 1.0, even, one)[0][0]
    # Gates may all be shut, and all are open where the threshold is low.
    gates = stress_process.Rules(0.0, "saving", choices=False)
    assert found(PIXELS, 0.5, even, first_lost, gates) == ([], True)
    assert found(PIXELS, 1.0, even, one, gates) == ([], True)
    assert "not select all" in found(PIXELS, 0.0, even, one, gates)[0][0]
    for threshold in (0.0, -np.inf, np.nan):
        assert "several branches" in found(PIXELS, threshold, even, every)[0][0]
        assert found(PIXELS, threshold, even, one)[0] == []


def test_file_with_wrong_answers_is_reported(exported, tmp_path):
    graph = graph_of(exported.trained.model)
    bias = graph.classifier.bias * np.float32(np.nan)
    classifier = dataclasses.replace(graph.classifier, bias=bias)
    folder = shutil.copytree(exported.folder, tmp_path / "copy")
    model = to_tflite(dataclasses.replace(graph, classifier=classifier), routed(graph.gateable))
    (folder / "model.tflite").write_bytes(model)
    values = json.loads((folder / "model.json").read_text())
    values["files"]["model.tflite"] = describe_file(folder / "model.tflite")
    (folder / "model.json").write_text(json.dumps(values))
    (result,) = stress(Export.open(folder), 8, 1)
    (fault,) = result.faults
    assert fault.startswith("float32: 4 of 8 inputs failed: input 0 (0..255, T=")
    assert fault.endswith("probabilities are not finite")


def test_leak_of_the_smallest_block_in_every_invocation_is_reported():
    flat = StressResult("float32", 1, 20_000, 0, (), {}, {}, 50_000_000, 4096)
    assert flat.faults == []
    leaking = dataclasses.replace(flat, growth=32 * 20_000)
    assert leaking.faults == [
        "float32: memory grew by 640,000 bytes in 20,000 invocations, more than 320,000"
    ]
    assert allowed_growth(100_000) == 1_600_000


def test_resident_memory_is_that_of_the_process():
    before = stress_process.resident_bytes()
    block = np.ones(4_000_000)
    assert stress_process.resident_bytes() - before == pytest.approx(block.nbytes, rel=0.1)


@pytest.mark.parametrize("length", [0, 1000])
def test_file_that_ends_its_process_is_named_in_one_line(exported, tmp_path, length):
    path = tmp_path / "short.tflite"
    path.write_bytes((exported.folder / "model.tflite").read_bytes()[:length])
    settings = {"file": str(path), "rules": None, "inputs": 1, "invocations": 1, "seed": 0}
    with pytest.raises(UserError, match="^short.tflite ended the process that read it: ") as error:
        run_child("export.stress.process", settings)
    assert "\n" not in str(error.value)


def test_image_and_threshold_reach_the_model(exported):
    path = exported.folder / "model.tflite"
    stressed, runner = TFLiteRunner(path), TFLiteRunner(path)
    for image, threshold in zip(
        images_of(exported.trained.run.config, 3), (0, 0.5, 1), strict=True
    ):
        given = stress_process.Input(PIXELS, image[None], threshold)
        stress_process._classify(stressed, given)
        expected = runner.run(image, threshold)
        np.testing.assert_array_equal(stressed.output("selected") > 0.5, expected.selected)
        np.testing.assert_array_equal(stressed.output("probabilities")[0], expected.probabilities)
