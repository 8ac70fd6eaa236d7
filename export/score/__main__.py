"""Classifies many images with an exported model, on all cores.

    python -m export.score --export_dir=exported --input=FOLDER --output=scores.csv --threshold=0.8

`--input` is a folder of image files, read with all folders below, or the name of a data set. The
output, .csv or .parquet, has one row per image, in the order of sorted paths or of the data set:

path (of a folder) or index (of a data set)
class          the most probable one
probability    of it
macs           multiply-accumulates that the image took
route          the units that it selected, see export/score/route_text.py; empty without routing
label          the true class where it is known: in a data set, and in a folder whose subfolder, in
               which the file lies, has the name of a class; else empty

Images that cannot be read are left out, and listed in FILE.errors.csv. If a scoring is interrupted,
repeat the command: it resumes.
"""

from __future__ import annotations

import pathlib
import time

from absl import flags

from drnet_tf import command_line
from drnet_tf.flags import define_threshold_flag, read_threshold, require_flags
from drnet_tf.progress import ProgressBar
from drnet_tf.writing import check_writable
from export.folder.export import Export
from export.score.image_sources import open_source
from export.score.parts import check_output
from export.score.scoring import ScoreResult, score
from export.tflite.threads import worker_count


def define_flags() -> None:
    flags.DEFINE_string("export_dir", None, "Folder of an export.")
    flags.DEFINE_string("input", None, "Folder of image files, or name of a data set.")
    flags.DEFINE_string("output", None, "File to write, ending in .csv or .parquet.")
    define_threshold_flag("T of the images")
    flags.DEFINE_string("data_dir", None, "Folder of prepared data sets.")
    flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split of a data set.")
    flags.DEFINE_integer("workers", 0, "Threads; 0 for one per core.")


def main() -> None:
    values = flags.FLAGS
    require_flags(export_dir="an export", input="images to classify", output="a table to write")
    worker_count(values.workers)
    check_output(pathlib.Path(values.output))
    check_writable(values.output)
    export = Export.open(values.export_dir)
    threshold = read_threshold(export.family)
    source = open_source(values.input, values.data_dir, values.split, export)
    started = time.monotonic()
    with ProgressBar("scoring") as bar:
        result = score(export, source, values.output, threshold, values.workers, bar.update)
    seconds = time.monotonic() - started
    command_line.show(*summary(result, seconds))


def summary(result: ScoreResult, seconds: float) -> list[str]:
    """Describes the result in plain lines."""
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
