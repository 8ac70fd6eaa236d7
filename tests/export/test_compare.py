"""Comparison of the .tflite files of an export."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from drnet_tf.errors import UserError
from export.compare import compare_files, result_table
from export.folder.description import describe_file
from export.folder.export import Export
from export.graphs.graph import graph_of
from export.graphs.plan import routed
from export.tflite.converter import to_tflite
from tests.export.routed_model import run_keras


@pytest.fixture(scope="module")
def says_two(exported):
    """A file that selects as the exported one does and classifies everything as class 2."""
    graph = graph_of(exported.trained.model)
    bias = graph.classifier.bias + 1e3 * (np.arange(4) == 2)
    classifier = dataclasses.replace(graph.classifier, bias=bias.astype(np.float32))
    return to_tflite(dataclasses.replace(graph, classifier=classifier), routed(graph.gateable))


@pytest.fixture
def copy(exported, says_two, tmp_path):
    """An export whose "float16" is the float32 file and whose "int8" says 2 to everything."""
    copy = shutil.copytree(exported.folder, tmp_path / "copy")
    values = json.loads((copy / "model.json").read_text())
    same = (copy / "model.tflite").read_bytes()
    for kind, content in (("float16", same), ("int8", says_two)):
        path = copy / f"{kind}.tflite"
        path.write_bytes(content)
        values["tflite"][kind] = path.name
        values["files"][path.name] = describe_file(path)
    (copy / "model.json").write_text(json.dumps(values))
    return copy


@pytest.mark.parametrize("threads", [1, 3])
def test_counts_what_each_file_says_of_each_image(exported, copy, images, threads):
    threshold = 0.5
    labels = np.arange(len(images)) % 4
    expected = run_keras(exported.trained.model, images, threshold)
    steps = []
    batches = [(images[i : i + 5], labels[i : i + 5]) for i in range(0, len(images), 5)]
    results, count = compare_files(
        Export.open(copy),
        batches,
        images[:2],
        threshold,
        seconds=0.01,
        threads=threads,
        progress=lambda done, total, text: steps.append((done, total, text)),
        image_count=len(images),
    )
    assert count == len(images)
    assert steps[-1] == (len(images), len(images), "classifying")
    float32, equal, other = results
    assert [result.quantization for result in results] == ["float32", "float16", "int8"]
    classes = expected.logits.argmax(axis=1)
    assert float32.accuracy == equal.accuracy == pytest.approx((classes == labels).mean())
    assert float32.macs == pytest.approx(expected.flops.mean())
    for result in (float32, equal):
        assert result.same_class == result.same_selection == result.same_decisions == 1
        assert result.size_ratio == 1
    assert float32.latency_ratio == 1 and equal.latency_ratio > 0
    assert other.accuracy == pytest.approx((labels == 2).mean())
    assert other.same_class == pytest.approx((classes == 2).mean())
    assert other.same_selection == 1
    assert other.size == (copy / "int8.tflite").stat().st_size
    assert result_table(results, threshold, count).row_count == 3


def test_no_images_are_refused(exported, images):
    with pytest.raises(UserError, match="no images"):
        compare_files(exported.export, [], images[:1], 0.5, seconds=0)
