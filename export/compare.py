"""Compares the .tflite files of an export with the float32 one.

    python -m export.compare --workdir=runs/digits --export_dir=exported/digits --threshold=0.8

prints a line for each quantization: accuracy on all test images, how often it routes as float32
does, its size, and its latency. Latencies are of one thread and of the first test images, in
blocks that take turns (export/tflite/timing.py), before anything else runs; accuracies are computed
in several threads.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import rich.console
import rich.table
from absl import flags

from drnet_tf import command_line
from drnet_tf.data.evaluation_images import first_images
from drnet_tf.errors import UserError
from drnet_tf.machine import machine_facts
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Trained
from drnet_tf.writing import check_writable, write_text
from export.flags import check_export_flags, define_export_flags, load_exported, open_run_images
from export.folder import names
from export.folder.export import check_files, check_source, tflite_files
from export.tflite.runner import TFLiteRunner
from export.tflite.timing import BLOCK, Block, take_turns

BATCH = 16
MOST_THREADS = 4


@dataclasses.dataclass(frozen=True)
class QuantizedResult:
    """One .tflite file at one threshold, compared with the float32 one.

    Args:
        quantization: "float32", or one of those of export/quantize/__main__.py.
        accuracy: share of the images that are classified correctly.
        same_class: share of the images with the class that float32 gives.
        same_selection: share of the images with the branches that float32 selects.
        same_decisions: share of the decisions, one for each image, cell, connection and branch.
        macs: mean multiply-accumulates of an image's branches and the fixed part.
        size: of the file in bytes.
        size_ratio: to float32.
        median_ms: over the timed images, with the branches that this file selects.
        latency_ratio: to float32.
    """

    quantization: str
    accuracy: float
    same_class: float
    same_selection: float
    same_decisions: float
    macs: float
    size: int
    size_ratio: float
    median_ms: float
    latency_ratio: float

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


class _Agreement:
    """What is counted of one file over all images."""

    def __init__(self) -> None:
        self.images = self.correct = self.classes = self.selections = 0
        self.decisions = self.macs = 0.0

    def add(self, outputs, reference, labels: np.ndarray) -> None:
        classes = outputs.logits.argmax(axis=1)
        same = outputs.selected == reference.selected
        self.images += len(labels)
        self.correct += int((classes == labels).sum())
        self.classes += int((classes == reference.logits.argmax(axis=1)).sum())
        self.selections += int(same.all(axis=(1, 2, 3)).sum())
        self.decisions += float(same.mean(axis=(1, 2, 3)).sum())
        self.macs += float(outputs.flops.sum(dtype=np.float64))


def compare_files(
    trained: Trained,
    export_dir: Path | str,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    timed_images: np.ndarray,
    threshold: float,
    seconds: float = 10.0,
    threads: int = 1,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
    image_count: int = 0,
) -> tuple[list[QuantizedResult], int]:
    """Compares all .tflite files of an export.

    Args:
        batches: pairs of images, float32 [batch, image_size, image_size, 3] in 0..255, and labels,
            [batch].
        timed_images: what latencies are measured with, of the same shape.
        threshold: T.
        seconds: how long to time.
        threads: how many images to classify at the same time, for all but latencies.
        progress: called with the steps done, their number, and what is being done.
        image_count: how many images `batches` has, if it is known, for `progress`.

    Returns:
        A result for each file, float32 first, and the number of images that were classified.

    Raises:
        UserError: the files are not those of an export of this model.
    """
    check_files(export_dir)
    check_source(export_dir, trained)
    files = tflite_files(export_dir)
    milliseconds = _time(files, timed_images, threshold, seconds, progress)
    counted = _count(files, batches, threshold, threads, progress, image_count)
    float32 = names.FLOAT32
    results = []
    for kind, path in files.items():
        agreement = counted[kind]
        size = path.stat().st_size
        results.append(
            QuantizedResult(
                quantization=kind,
                accuracy=agreement.correct / agreement.images,
                same_class=agreement.classes / agreement.images,
                same_selection=agreement.selections / agreement.images,
                same_decisions=agreement.decisions / agreement.images,
                macs=agreement.macs / agreement.images,
                size=size,
                size_ratio=size / files[float32].stat().st_size,
                median_ms=milliseconds[kind],
                latency_ratio=milliseconds[kind] / milliseconds[float32],
            )
        )
    return results, counted[float32].images


def _time(files: dict[str, Path], images, threshold, seconds, progress) -> dict[str, float]:
    """Median milliseconds an image."""
    blocks = {kind: Block.of(TFLiteRunner(path), threshold, images) for kind, path in files.items()}
    take_turns(list(blocks.values()), seconds, progress)
    return {kind: float(np.median(block.milliseconds)) for kind, block in blocks.items()}


def _count(
    files: dict[str, Path], batches, threshold, threads, progress, image_count
) -> dict[str, _Agreement]:
    counted = {kind: _Agreement() for kind in files}
    # An interpreter runs one image at a time: each thread has its own.
    runners = [{kind: TFLiteRunner(path) for kind, path in files.items()} for _ in range(threads)]
    done = 0
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for group in _groups(batches, threads):
            work = [
                pool.submit(_classify, own, images, threshold)
                for own, (images, _) in zip(runners, group, strict=False)
            ]
            for future, (_, labels) in zip(work, group, strict=True):
                outputs = future.result()
                for kind, agreement in counted.items():
                    agreement.add(outputs[kind], outputs[names.FLOAT32], labels)
                done += len(labels)
            progress(done, max(image_count, done), "classifying")
    if not done:
        raise UserError("there are no images to compare with")
    return counted


def _classify(runners: dict[str, TFLiteRunner], images: np.ndarray, threshold: float) -> dict:
    return {kind: runner.run_all(images, threshold) for kind, runner in runners.items()}


def _groups(batches: Iterable, size: int) -> Iterable[list]:
    group = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def result_table(
    results: Sequence[QuantizedResult], threshold: float, images: int
) -> rich.table.Table:
    """The results with a line for each file."""
    table = rich.table.Table(
        title=f"T={threshold:g}, {images} test images; same: as float32 (f32); ms: one thread",
        title_justify="left",
    )
    table.add_column("file", no_wrap=True)
    for name in (
        *("accuracy\n%", "same\nrouting", "same\nbranch"),
        *("size\nMB", "size\n/ f32", "ms", "ms\n/ f32"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            result.quantization,
            f"{100 * result.accuracy:.2f}",
            f"{result.same_selection:.3f}",
            f"{result.same_decisions:.4f}",
            f"{result.size / 1e6:.2f}",
            f"{result.size_ratio:.2f}",
            f"{result.median_ms:.3f}",
            f"{result.latency_ratio:.2f}",
        )
    return table


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    define_export_flags()
    flags.DEFINE_float("threshold", 0.8, "T; 1 runs all branches.")
    flags.DEFINE_integer(
        "timed_images", 64, "How many test images to time, the first ones.", lower_bound=1
    )
    flags.DEFINE_float("seconds", 10.0, "How long to time.", lower_bound=0.0)
    flags.DEFINE_integer(
        "threads",
        min(os.cpu_count() or 1, MOST_THREADS),
        "How many images to classify at the same time.",
        lower_bound=1,
    )
    flags.DEFINE_string("json", None, "Write the results to this file too.")


def main() -> None:
    values = flags.FLAGS
    check_export_flags()
    if not math.isfinite(values.threshold) or not math.isfinite(values.seconds):
        raise UserError("--threshold and --seconds must be numbers")
    if values.json:
        check_writable(values.json)
    trained = load_exported()
    dataset = open_run_images(trained.run, values.data_dir)
    timed = first_images(dataset, "test", values.timed_images)
    with ProgressBar("comparing") as bar:
        results, images = compare_files(
            trained,
            values.export_dir,
            dataset.batches("test", BATCH),
            timed,
            values.threshold,
            values.seconds,
            values.threads,
            bar.update,
            dataset.count("test"),
        )
    rich.console.Console().print(result_table(results, values.threshold, images))
    if values.json:
        report = {
            "model": trained.run.model,
            "dataset": trained.run.dataset,
            "step": trained.step,
            "threshold": values.threshold,
            "images": images,
            "timed_images": len(timed),
            "timed_threads": 1,
            "block": BLOCK,
            "machine": machine_facts(),
            "results": [result.to_dict() for result in results],
        }
        write_text(values.json, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
