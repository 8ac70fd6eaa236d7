"""Compares the .tflite files of an export with the float32 one.

    python -m export.compare --workdir=runs/digits --export_dir=exported/digits --threshold=0.8

prints a line for each quantization: accuracy on all test images, how often it routes as float32
does, its size, and its latency. Latencies are of one thread and of the first test images, in
blocks that take turns (export/tflite/timing.py), before anything else runs; accuracies are computed
in several threads.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from rich.table import Table

from drnet_tf import command_line
from drnet_tf.data.evaluation_images import first_images
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table
from drnet_tf.evaluation.trained import open_run_images
from drnet_tf.flags import (
    check_json,
    define_json_flag,
    define_threshold_flag,
    read_threshold,
    write_result,
)
from drnet_tf.machine import machine_facts
from drnet_tf.progress import Progress, ProgressBar, silent
from export.flags import define_export_flags, define_seconds_flag, open_export
from export.folder import names
from export.folder.export import Export
from export.tflite.runner import Outputs, TFLiteRunner
from export.tflite.threads import in_threads
from export.tflite.timing import BLOCK, Block, take_turns

BATCH = 16
MOST_THREADS = 4


@dataclasses.dataclass(frozen=True)
class QuantizedResult:
    """Holds how one .tflite file compares with the float32 one, at one threshold.

    Args:
        quantization: "float32", or one of those of export/quantize/__main__.py.
        accuracy: share of the images that are classified correctly.
        same_class: share of the images with the class that float32 gives.
        same_selection: share of the images with the units that float32 selects; None, as is the
            next, for a model without routing.
        same_decisions: share of the decisions, one for each image and unit.
        macs: mean multiply-accumulates of an image's units and the fixed part.
        size: of the file in bytes.
        size_ratio: to float32.
        median_ms: over the timed images, with the units that this file selects.
        latency_ratio: to float32.
    """

    quantization: str
    accuracy: float
    same_class: float
    same_selection: float | None
    same_decisions: float | None
    macs: float
    size: int
    size_ratio: float
    median_ms: float
    latency_ratio: float


def _agreement(outputs: Outputs, reference: Outputs, labels: np.ndarray) -> np.ndarray:
    """Sums over images, float64: right ones, the reference's class; where images choose, its
    selection, its share of decisions, and multiply-accumulates.
    """
    classes = outputs.logits.argmax(axis=1)
    found = [classes == labels, classes == reference.logits.argmax(axis=1)]
    if outputs.selected is not None:
        same = (outputs.selected == reference.selected).reshape(len(labels), -1)
        found += [same.all(axis=1), same.mean(axis=1), outputs.flops]
    return np.array([values.sum(dtype=np.float64) for values in found])


def compare_files(
    export: Export,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    timed_images: np.ndarray,
    threshold: float | None,
    seconds: float = 10.0,
    threads: int = 1,
    progress: Progress = silent,
    image_count: int = 0,
) -> tuple[list[QuantizedResult], int]:
    """Compares all .tflite files of an export.

    Args:
        batches: pairs of images, float32 [batch, image_size, image_size, 3] in 0..255, and labels,
            [batch].
        timed_images: what latencies are measured with, of the same shape.
        threshold: T; None for a model without routing.
        seconds: how long to time.
        threads: how many images to classify at the same time, for all but latencies.
        image_count: how many images `batches` has, if it is known, for `progress`.

    Returns:
        A result for each file, float32 first, and the number of images that were classified.

    Raises:
        UserError: there are no images.
    """
    files = export.files
    milliseconds = _time(files, timed_images, threshold, seconds, progress)
    sums, images = _count(files, batches, threshold, threads, progress, image_count)
    sizes = {kind: path.stat().st_size for kind, path in files.items()}
    results = []
    for kind in files:
        accuracy, same_class, *routing = (sums[kind] / images).tolist()
        selection, decisions, macs = routing or (None, None, export.description["macs"]["fixed"])
        results.append(
            QuantizedResult(
                quantization=kind,
                accuracy=accuracy,
                same_class=same_class,
                same_selection=selection,
                same_decisions=decisions,
                macs=macs,
                size=sizes[kind],
                size_ratio=sizes[kind] / sizes[names.FLOAT32],
                median_ms=milliseconds[kind],
                latency_ratio=milliseconds[kind] / milliseconds[names.FLOAT32],
            )
        )
    return results, images


def _time(files: dict[str, Path], images, threshold, seconds, progress) -> dict[str, float]:
    """Measures median milliseconds per image."""
    blocks = {kind: Block.of(TFLiteRunner(path), threshold, images) for kind, path in files.items()}
    take_turns(list(blocks.values()), seconds, progress)
    return {kind: float(np.median(block.milliseconds)) for kind, block in blocks.items()}


def _count(
    files: dict[str, Path], batches, threshold, threads, progress, image_count
) -> tuple[dict[str, np.ndarray], int]:
    """Returns the sums of `_agreement` over all images for each file, and how many there are."""

    def runners() -> dict[str, TFLiteRunner]:
        return {kind: TFLiteRunner(path) for kind, path in files.items()}

    def classify(runners: dict[str, TFLiteRunner], batch):
        images, labels = batch
        return labels, {kind: own.run_all(images, threshold) for kind, own in runners.items()}

    sums, done = dict.fromkeys(files, np.zeros(())), 0
    for labels, outputs in in_threads(runners, classify, batches, threads):
        for kind, own in outputs.items():
            sums[kind] = sums[kind] + _agreement(own, outputs[names.FLOAT32], labels)
        done += len(labels)
        progress(done, max(image_count, done), "classifying")
    if not done:
        raise UserError("there are no images to compare with")
    return sums, done


def result_table(results: Sequence[QuantizedResult], threshold: float | None, images: int) -> Table:
    """Makes a table with a line for each file."""
    rows = [
        {
            "file": result.quantization,
            "accuracy\n%": f"{100 * result.accuracy:.2f}",
            "same\nrouting": "" if (same := result.same_selection) is None else f"{same:.3f}",
            "same\nbranch": "" if (same := result.same_decisions) is None else f"{same:.4f}",
            "size\nMB": f"{result.size / 1e6:.2f}",
            "size\n/ f32": f"{result.size_ratio:.2f}",
            "ms": f"{result.median_ms:.3f}",
            "ms\n/ f32": f"{result.latency_ratio:.2f}",
        }
        for result in results
    ]
    at = "" if threshold is None else f"T={threshold:g}, "
    title = f"{at}{images} test images; same: as float32 (f32); ms: one thread"
    return cells_table(rows, title, text=["file"])


def define_flags() -> None:
    define_export_flags()
    define_threshold_flag("T of the images")
    flags.DEFINE_integer(
        "timed_images", 64, "How many test images to time, the first ones.", lower_bound=1
    )
    define_seconds_flag(10.0)
    flags.DEFINE_integer(
        "threads",
        min(os.cpu_count() or 1, MOST_THREADS),
        "How many images to classify at the same time.",
        lower_bound=1,
    )
    define_json_flag()


def main() -> None:
    values = flags.FLAGS
    check_json()
    trained, export = open_export()
    threshold = read_threshold(trained.run.family)
    dataset = open_run_images(trained.run, values.data_dir)
    timed = first_images(dataset, "test", values.timed_images)
    with ProgressBar("comparing") as bar:
        results, images = compare_files(
            export,
            dataset.batches("test", BATCH),
            timed,
            threshold,
            values.seconds,
            values.threads,
            bar.update,
            dataset.count("test"),
        )
    command_line.show(result_table(results, threshold, images))
    write_result(
        trained,
        {
            "threshold": threshold,
            "images": images,
            "timed_images": len(timed),
            "timed_threads": 1,
            "block": BLOCK,
            "machine": machine_facts(),
            "results": [dataclasses.asdict(result) for result in results],
        },
    )


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
