"""Says what compression did to a run: zeros and values of kernels, accuracy, cost, sizes."""

from __future__ import annotations

import dataclasses
import io
import zipfile

import numpy as np
from rich.table import Table

from drnet_tf.evaluation.tables import cells_table
from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.runs.workdir import Trained
from export.compress.twin_process import PRUNE
from export.folder.names import TFLITE_FILE
from export.graphs.drnet.network import is_compressed
from export.graphs.graph import RoutedGraph, graph_of
from export.graphs.parts import Part
from export.graphs.plan import routed
from export.tflite.converter import to_tflite


@dataclasses.dataclass(frozen=True)
class Kernel:
    """Counts the weights of a compressed kernel, the zeros among them, and different values."""

    name: str
    weights: int
    zeros: int
    values: int


@dataclasses.dataclass(frozen=True)
class Measured:
    """Holds a run in numbers.

    Args:
        accuracy_all: share of the test images that are right where all branches run.
        accuracy, macs: at the threshold; multiply-accumulates of an image, the mean.
        tflite_bytes, zipped_bytes: size of its routed float32 .tflite, and of that file zipped.
    """

    accuracy_all: float
    accuracy: float
    macs: float
    tflite_bytes: int
    zipped_bytes: int


def compressed_kernels(graph: RoutedGraph) -> list[Kernel]:
    """Lists the kernels of a DRNet that are compressed, or would be.

    Args:
        graph: with the model's own channels: further ones are zeros.
    """
    kernels = []

    def read(name: str, part: Part) -> Part:
        if is_compressed(name, part):
            zeros, values = int((part.kernel == 0).sum()), len(np.unique(part.kernel))
            kernels.append(Kernel(name, part.kernel.size, zeros, values))
        return part

    graph.map(read)
    return kernels


def measure(trained: Trained, threshold: float, data_dir: str | None) -> Measured:
    """Evaluates a run with a knob on its test images and exports it into memory."""
    knob = trained.run.family.knob
    assert knob is not None
    everything, some = evaluate_trained(trained, [knob.everything, threshold], data_dir)
    graph = graph_of(trained.model)
    model = to_tflite(graph, routed(graph.gateable))
    return Measured(
        everything.accuracy, some.accuracy, some.macs.mean, len(model), zipped_size(model)
    )


def zipped_size(content: bytes) -> int:
    """Returns the bytes of a zip archive, by deflate, with one file of that content."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr(TFLITE_FILE, content)
    return len(archive.getvalue())


def comparison(before: Measured, after: Measured, threshold: float, title: str) -> Table:
    """Makes a table of both runs beside each other."""
    facts: tuple[tuple[str, str, float, str], ...] = (
        ("accuracy %, all branches", "accuracy_all", 100, ".2f"),
        (f"accuracy %, T={threshold:g}", "accuracy", 100, ".2f"),
        (f"MACs M, T={threshold:g}", "macs", 1e-6, ".2f"),
        (f"{TFLITE_FILE} kB", "tflite_bytes", 1e-3, ".0f"),
        ("the same zipped kB", "zipped_bytes", 1e-3, ".0f"),
    )
    rows = []
    for text, name, factor, form in facts:
        old, new = getattr(before, name), getattr(after, name)
        row = {"": text, "before": f"{old * factor:{form}}", "after": f"{new * factor:{form}}"}
        rows.append(row | {"after / before": f"{new / old:.2f}" if old else ""})
    return cells_table(rows, title, text=[""])


def kernel_line(kernels: list[Kernel], method: str) -> str:
    """Says in a sentence what became of the kernels."""
    weights = sum(kernel.weights for kernel in kernels)
    text = f"{weights:,} weights in {len(kernels)} kernels are compressed: "
    if method == PRUNE:
        worst = min(kernels, key=lambda kernel: kernel.zeros / kernel.weights)
        total = sum(kernel.zeros for kernel in kernels) / weights
        share = worst.zeros / worst.weights
        return f"{text}{100 * total:.2f}% are zero, at least {100 * share:.2f}% ({worst.name})"
    worst = max(kernels, key=lambda kernel: kernel.values)
    mean = sum(kernel.values for kernel in kernels) / len(kernels)
    return f"{text}{mean:.1f} values in one on average, at most {worst.values} ({worst.name})"
