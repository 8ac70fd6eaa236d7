"""What loading takes, measured in processes of their own."""

import sys

import numpy as np
import pytest

from drnet_tf.errors import UserError
from export.benchmark.footprint import footprint_table, measure_footprints
from export.graphs.graph import graph_of
from export.graphs.plan import DENSE
from export.tflite.child_process import run_child
from export.tflite.converter import to_tflite
from export.tflite.programs import run_program


def test_measures_both_graphs(exported, images):
    dense_model = to_tflite(graph_of(exported.trained.model), DENSE)
    steps = []
    footprints = measure_footprints(
        exported.export,
        dense_model,
        images,
        progress=lambda done, total, text: steps.append((done, total, text)),
        processes=2,
    )
    assert [(f.graph, f.threshold) for f in footprints] == [
        ("routed", 0.8),
        ("routed", 1.0),
        ("dense", 1.0),
    ]
    size = (exported.folder / "model.tflite").stat().st_size
    assert [f.file_bytes for f in footprints] == [size, size, len(dense_model)]
    for footprint in footprints:
        assert min(footprint.construct_ms, footprint.allocate_ms, footprint.first_ms) > 0
        # At least the weights, which lie in the file, must come into memory.
        assert 100_000 < footprint.memory_bytes < 100_000_000
        assert footprint.images == len(images) and footprint.processes == 2
    assert steps == [(1, 2, "loading"), (2, 2, "loading")]
    assert footprint_table(footprints).row_count == 3


def test_memory_counts_what_the_model_needs(exported, tmp_path):
    """Three megabytes of images are loaded before, and are not counted."""
    np.save(tmp_path / "few.npy", np.zeros((1, 16, 16, 3), np.float32))
    np.save(tmp_path / "many.npy", np.zeros((1000, 16, 16, 3), np.float32))
    memory = []
    for name in ("few.npy", "many.npy"):
        model = exported.folder / "model.tflite"
        settings = {"file": str(model), "images": str(tmp_path / name), "threshold": 0.0}
        memory.append(run_child("export.benchmark.load_probe", settings)["memory_bytes"])
    assert memory[1] == pytest.approx(memory[0], abs=1_000_000)


def test_probe_loads_no_other_framework():
    program = (
        "import sys; import export.benchmark.load_probe;"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    )
    assert run_program([sys.executable, "-c", program]).strip() == "[]"


def test_file_that_is_no_model_ends_with_one_line(exported, images):
    with pytest.raises(UserError, match="dense.tflite"):
        measure_footprints(exported.export, b"no model", images[:1], processes=1)
