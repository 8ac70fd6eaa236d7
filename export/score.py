"""Classifies many images with an exported model, on all cores.

    python -m export.score --export_dir=exported --input=FOLDER --output=scores.csv --threshold=0.8

`--input` is a folder of image files, read with all folders below, or the name of a data set. The
output, .csv or .parquet, has a row an image, in the order of the sorted paths or of the data set:

path (of a folder) or index (of a data set)
class          the most probable one
probability    of it
macs           multiply-accumulates that the image took
route          the branches that it selected, see export/route_text.py
label          the true class where it is known: in a data set, and in a folder whose subfolder, in
               which the file lies, has the name of a class; else empty

Images that cannot be read are left out, and listed in FILE.errors.csv. A scoring that was killed
goes on where it was when the same command is started again.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Sequence

import rich.console
from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.progress import ProgressBar
from drnet_tf.writing import check_writable
from export import artifacts
from export.image_folder import UnreadableImage
from export.image_sources import Image, Source, open_source
from export.route_text import route_text
from export.score_parts import Column, ScoreParts, check_output
from export.tflite import Outputs, TFLiteRunner
from export.threads import in_threads, worker_count

PART = 1000
_COLUMNS = (
    Column("class", "string"),
    Column("probability", "float32"),
    Column("macs", "int64"),
    Column("route", "string"),
    Column("label", "string"),
)


@dataclasses.dataclass(frozen=True)
class ScoreResult:
    """What was written.

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
    export_dir: pathlib.Path | str,
    source: Source,
    output: pathlib.Path | str,
    threshold: float,
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    part: int = PART,
) -> ScoreResult:
    """Writes the table of an export's answers to images.

    Args:
        output: file ending in .csv or .parquet; one that is there is replaced at the end.
        threshold: T.
        workers: threads; 0 for one a core.
        progress: called with the number of images done, and of all.
        part: images after which what is done is kept; the same in a run that goes on.

    Raises:
        UserError: the folder is no export, its files have changed, or another scoring was begun
            under this name.
    """
    output = pathlib.Path(output)
    check_output(output)
    workers = worker_count(workers)
    artifacts.check_files(export_dir)
    description = artifacts.read_description(export_dir)
    class_names = description["class_names"]
    model = pathlib.Path(export_dir, artifacts.TFLITE_FILE)

    def run(runner: TFLiteRunner, image: Image) -> tuple[tuple, None] | tuple[None, tuple]:
        try:
            outputs = runner.run(image.pixels(), threshold)
        except UnreadableImage as error:
            return None, (image.name, str(error))
        return _row(image, outputs, class_names), None

    parts = ScoreParts(output, (source.column, *_COLUMNS))
    job = {
        "model": description["files"][artifacts.TFLITE_FILE]["sha256"],
        "images": source.fingerprint,
        "threshold": repr(float(threshold)),
        "part": part,
    }
    with parts.claimed(job):
        count = -(-source.count // part)
        # What is done is always a beginning: parts are written one after the other.
        first = next((i for i in range(count) if not parts.has(i)), count)
        done = first * part
        progress(min(done, source.count), source.count)
        results = in_threads(lambda: TFLiteRunner(model), run, source.images(done), workers)
        for i in range(first, count):
            rows, errors = [], []
            for _ in range(min(part, source.count - i * part)):
                row, error = next(results)
                rows += [row] if row else []
                errors += [error] if error else []
                done += 1
                progress(done, source.count)
            parts.write(i, rows, errors)
        results.close()
        return _join(parts, count)


def _row(image: Image, outputs: Outputs, class_names: Sequence[str]) -> tuple:
    best = int(outputs.probabilities.argmax())
    return (
        image.name,
        class_names[best],
        str(outputs.probabilities[best]),  # as many digits as tell it from its neighbors
        int(outputs.flops),
        route_text(outputs.selected),
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


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    flags.DEFINE_string("export_dir", None, "Folder of an export.")
    flags.DEFINE_string("input", None, "Folder of image files, or name of a data set.")
    flags.DEFINE_string("output", None, "File to write, ending in .csv or .parquet.")
    flags.DEFINE_float("threshold", 0.8, "T; 1 runs all branches.")
    flags.DEFINE_string("data_dir", None, "Folder of prepared data sets.")
    flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split of a data set.")
    flags.DEFINE_integer("workers", 0, "Threads; 0 for one a core.")


def main() -> None:
    values = flags.FLAGS
    if not values.export_dir or not values.input or not values.output:
        raise UserError("needed are --export_dir, --input and --output")
    if not math.isfinite(values.threshold):
        raise UserError(f"--threshold must be a finite number, not {values.threshold}")
    worker_count(values.workers)
    check_output(pathlib.Path(values.output))
    check_writable(values.output)
    description = artifacts.read_description(values.export_dir)
    source = open_source(values.input, values.data_dir, values.split, description)
    started = time.monotonic()
    with ProgressBar("scoring") as bar:
        result = score(
            values.export_dir,
            source,
            values.output,
            values.threshold,
            values.workers,
            bar.update,
        )
    seconds = time.monotonic() - started
    console = rich.console.Console()
    for line in summary(result, seconds):
        console.print(line, highlight=False, soft_wrap=True)


def summary(result: ScoreResult, seconds: float) -> list[str]:
    """The result in plain lines."""
    lines = [f"{result.output}: {result.images} images in {seconds:.1f} s"]
    if result.images:
        lines[0] += f", {result.mean_macs / 1e6:.2f}M multiply-accumulates each"
    if result.labeled:
        accuracy = 100 * result.correct / result.labeled
        lines.append(f"{accuracy:.2f}% of {result.labeled} images with a label are right")
    if result.unreadable:
        lines.append(f"{result.unreadable} could not be read: {result.output}.errors.csv")
    return lines


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
