"""Classifies images with an export and writes a table of its answers."""

from __future__ import annotations

import dataclasses
import math
import pathlib

from drnet_tf.progress import Progress, silent
from export.folder import names
from export.folder.export import Export
from export.score.image_folder import UnreadableImage
from export.score.image_sources import Image, Source
from export.score.parts import ScoreParts, check_output
from export.score.route_text import route_text
from export.tflite.runner import Outputs, TFLiteRunner
from export.tflite.threads import in_threads, worker_count

PART = 1000

_COLUMNS = {
    "class": "string",
    "probability": "float32",
    "macs": "int64",
    "route": "string",
    "label": "string",
}


@dataclasses.dataclass(frozen=True)
class ScoreResult:
    """Holds what was written.

    Args:
        output: the table.
        images: rows in it.
        unreadable: images that have none.
        labeled: rows with a true class.
        correct: those of them that were classified so.
        mean_macs: over the rows; NaN without one.
    """

    output: pathlib.Path
    images: int
    unreadable: int
    labeled: int
    correct: int
    mean_macs: float


def score(
    export: Export,
    source: Source,
    output: pathlib.Path | str,
    threshold: float | None,
    workers: int = 0,
    progress: Progress = silent,
    part: int = PART,
) -> ScoreResult:
    """Writes the table of an export's answers to images.

    Args:
        output: file ending in .csv or .parquet; one that is there is replaced at the end.
        threshold: T; None for a model without routing.
        workers: threads; 0 for one per core.
        progress: called with the number of images done, and of all.
        part: images after which what is done is kept; the same when a scoring is resumed.

    Raises:
        UserError: another scoring was begun under this name.
    """
    output = pathlib.Path(output)
    check_output(output)
    workers = worker_count(workers)

    def run(runner: TFLiteRunner, image: Image) -> tuple[tuple, None] | tuple[None, tuple]:
        try:
            outputs = runner.run(image.pixels(), threshold)
        except UnreadableImage as error:
            return None, (image.name, str(error))
        return _row(image, outputs, export), None

    parts = ScoreParts(output, dict([source.column]) | _COLUMNS)
    job = {
        "model": export.description["files"][names.TFLITE_FILE]["sha256"],
        "images": source.fingerprint,
        "threshold": None if threshold is None else repr(float(threshold)),
        "part": part,
    }
    with parts.claimed(job):
        count = -(-source.count // part)
        # What is done is always a beginning: parts are written one after the other.
        first = next((i for i in range(count) if not parts.has(i)), count)
        done = first * part
        progress(min(done, source.count), source.count, "")
        results = in_threads(lambda: TFLiteRunner(export.tflite), run, source.images(done), workers)
        for i in range(first, count):
            rows, errors = [], []
            for _ in range(min(part, source.count - i * part)):
                row, error = next(results)
                rows += [row] if row else []
                errors += [error] if error else []
                done += 1
                progress(done, source.count, "")
            parts.write(i, rows, errors)
        results.close()
        return _join(parts, count)


def _row(image: Image, outputs: Outputs, export: Export) -> tuple:
    best = int(outputs.probabilities.argmax())
    return (
        image.name,
        export.class_names[best],
        str(outputs.probabilities[best]),  # as many digits as tell it from its neighbors
        export.description["macs"]["fixed"] if outputs.flops is None else int(outputs.flops),
        "" if outputs.selected is None else route_text(outputs.selected),
        image.label,
    )


def _join(parts: ScoreParts, count: int) -> ScoreResult:
    images = labeled = correct = macs = 0
    for i in range(count):
        for row in parts.rows(i):
            images += 1
            macs += int(row["macs"])
            labeled += row["label"] != ""
            correct += row["label"] == row["class"]
    unreadable = parts.join(count)
    mean_macs = macs / images if images else math.nan
    return ScoreResult(parts.output, images, unreadable, labeled, correct, mean_macs)
