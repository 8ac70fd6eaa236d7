"""What loading an exported model takes: time, memory and the size of its file.

Measured in fresh processes that import numpy and LiteRT only (load_probe.py), one after the other,
as TensorFlow in the same process would blur it. The files are in the page cache, as that of an app
which was used before. Memory is how much the peak of the resident set grows from before loading
to after classifying all images: the file, packed weights, tensors, and the parts of LiteRT that
running touches, which are the same for all models.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from drnet_tf.evaluation.tables import cells_table, threshold_text
from drnet_tf.progress import Progress, silent
from export.folder.export import Export
from export.tflite.child_process import run_child

PROCESSES = 5
ROUTED, DENSE = "routed", "dense"


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Holds what loading a .tflite file and classifying takes; medians over processes.

    Args:
        graph: "routed", or "dense" for the graph that runs all units.
        threshold: T; None for a model without routing.
        images: how many were classified.
        processes: how many there were.
        file_bytes: size of the file.
        construct_ms: to make the interpreter.
        allocate_ms: to allocate its tensors, which also packs the weights.
        first_ms: of the first invocation.
        memory_bytes: growth of the peak of the resident set.
    """

    graph: str
    threshold: float | None
    images: int
    processes: int
    file_bytes: int
    construct_ms: float
    allocate_ms: float
    first_ms: float
    memory_bytes: int


def measure_footprints(
    export: Export,
    dense_model: bytes | None,
    images: np.ndarray,
    progress: Progress = silent,
    processes: int = PROCESSES,
) -> list[Footprint]:
    """Measures an export at its default threshold and with all units, and its dense graph.

    Args:
        dense_model: a .tflite file that runs all units; None for a model without routing, of which
            there is one file.
        images: float32 [images, image_size, image_size, 3] in 0..255.
        processes: how often each is measured.
    """
    model = export.tflite
    with tempfile.TemporaryDirectory() as folder:
        dense, pixels = pathlib.Path(folder, "dense.tflite"), pathlib.Path(folder, "images.npy")
        np.save(pixels, np.asarray(images, np.float32))
        cases = [(ROUTED, model, export.default_threshold)]
        if dense_model is not None and export.knob is not None:
            dense.write_bytes(dense_model)
            everything = export.knob["everything"]
            # The dense graph does the same work at every threshold.
            cases += [(ROUTED, model, everything), (DENSE, dense, everything)]
        probes: list[list[dict]] = [[] for _ in cases]
        for turn in range(processes):
            for (_, path, threshold), found in zip(cases, probes, strict=True):
                settings = {"file": str(path), "images": str(pixels), "threshold": threshold}
                found.append(run_child("export.benchmark.load_probe", settings))
            progress(turn + 1, processes, "loading")
        footprints = []
        for (graph, path, threshold), found in zip(cases, probes, strict=True):
            medians: dict[str, Any] = {
                name: float(np.median([probe[name] for probe in found])) for name in found[0]
            }
            medians["memory_bytes"] = int(medians["memory_bytes"])
            counts = (len(images), processes, path.stat().st_size)
            footprints.append(Footprint(graph, threshold, *counts, **medians))
        return footprints


def footprint_table(footprints: Sequence[Footprint]) -> Table:
    """Makes a table with a line for each graph and threshold."""
    rows = [
        {
            "graph": footprint.graph,
            "T": "any" if footprint.graph == DENSE else threshold_text(footprint.threshold),
            "file kB": f"{footprint.file_bytes / 1e3:.0f}",
            "construct ms": f"{footprint.construct_ms:.1f}",
            "allocate ms": f"{footprint.allocate_ms:.1f}",
            "first run ms": f"{footprint.first_ms:.1f}",
            "memory MB": f"{footprint.memory_bytes / 1e6:.1f}",
        }
        for footprint in footprints
    ]
    title = (
        f"loading, median of {footprints[0].processes} fresh processes; memory: growth of "
        f"the peak until {footprints[0].images} images are classified"
    )
    return cells_table(rows, title, text=["graph"])
