"""Writes all figures of an export to one document, measured in one run.

    python -m benchmarks.export_report --workdir=RUN --export_dir=EXPORT \\
        --output=docs/results/NAME.md

Accuracy by threshold, latency beside MobileNetV2, beside the dense graph and beside static graphs,
loading and memory, every .tflite beside float32 on the whole test set, instruction counts, and
where the time goes. Parts whose tool is missing (a C compiler, valgrind, perf) say so.
"""

from __future__ import annotations

import datetime
import shlex
import sys
from collections.abc import Iterator, Sequence

from absl import flags
from rich.table import Table

from benchmarks import inference, kernel_profile
from drnet_tf import command_line
from drnet_tf.data.evaluation_images import EvaluationImages, first_images
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import threshold_table
from drnet_tf.evaluation.trained import evaluate_trained, open_run_images
from drnet_tf.flags import define_thresholds_flag, read_thresholds, require_flags
from drnet_tf.machine import machine_facts
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Trained
from drnet_tf.training_flags import command_of
from drnet_tf.writing import check_writable, write_text
from export import compare, instructions
from export.benchmark import __main__ as benchmark
from export.benchmark import footprint
from export.convert import fixed_file as static_file
from export.flags import define_export_flags, define_seconds_flag, open_export
from export.folder import names
from export.folder.export import Export
from export.graphs.graph import graph_of
from export.graphs.plan import DENSE
from export.tflite.converter import to_tflite

#: Flags whose value says where something lies on this machine.
_PLACES = {"workdir": "RUN", "export_dir": "EXPORT", "data_dir": "DIR"}


def markdown(table: Table) -> str:
    """Writes a table for the terminal in Markdown, under its title."""
    headers = [str(column.header).replace("\n", " ") for column in table.columns]
    rules = ["---:" if column.justify == "right" else "---" for column in table.columns]
    rows = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    lines = ["| " + " | ".join(row) + " |" for row in (headers, rules, *rows)]
    return "\n".join([f"{table.title}:", "", *lines])


def sections(
    trained: Trained,
    export: Export,
    data_dir: str | None,
    thresholds: Sequence[float | None],
    images: int,
    seconds: float,
    bar: ProgressBar,
) -> Iterator[tuple[str, str]]:
    """Gives the heading and the text of each part, as they are measured.

    Args:
        thresholds: values of T.
        images: how many test images to time, the first ones.
        seconds: how long to time each part.
    """
    config, default, knob = trained.model.config, export.default_threshold, export.knob
    dataset: EvaluationImages = open_run_images(trained.run, data_dir)
    pixels = first_images(dataset, "test", images)
    dense = None if knob is None else to_tflite(graph_of(trained.model), DENSE)
    results = evaluate_trained(trained, thresholds, data_dir)
    title = f"{results[0].images} test images"
    table = threshold_table(results, trained.model.cost.total.macs, title)
    yield "Accuracy and cost by threshold", markdown(table)
    if config.image_size == inference.IMAGE_SIZE:
        rows = inference.compare(trained, export, pixels, thresholds, seconds, bar.update)
        yield "Beside MobileNetV2", markdown(inference.table(rows, len(pixels)))
    timed = benchmark.benchmark(trained, export, pixels, thresholds, seconds, 8, bar.update, dense)
    heading, text = "Latency", markdown(benchmark.result_table(timed))
    if knob is not None:
        heading = "Beside the dense graph and the lower bound"
        text = (
            "`dense` runs all branches without an IF; `static` are graphs of what single images "
            f"select, the lower bound.\n\n{text}"
        )
    yield heading, text
    prints = footprint.measure_footprints(export, dense, pixels, bar.update)
    yield "Loading and memory", markdown(footprint.footprint_table(prints))
    compared, count = compare.compare_files(
        export,
        dataset.batches("test", compare.BATCH),
        pixels,
        default,
        seconds,
        compare.MOST_THREADS,
        bar.update,
        dataset.count("test"),
    )
    text = markdown(compare.result_table(compared, default, count))
    if facts := export.description.get("static"):
        text += f"\n\n`{names.STATIC_FILE}`, without an IF: {static_file.summary(facts)}."
    yield "Smaller files, and a static one", text
    if knob is None:
        return
    try:
        counted = instructions.count_instructions(
            trained, export, pixels[:8], thresholds, bar.update
        )
        text = f"{markdown(instructions.report_table(counted))}\n\n{counted.kernels}"
    except UserError as error:
        text = f"Not counted: {error}."
    yield "Instructions", text
    try:
        profiles = kernel_profile.profile_export(
            trained, export, pixels, [default, knob["everything"]], seconds / 4, bar.update
        )
        text = markdown(kernel_profile.table(profiles))
    except UserError as error:
        text = f"Not profiled: {error}."
    yield "Where the time goes", text


def define_flags() -> None:
    define_export_flags()
    define_thresholds_flag()
    flags.DEFINE_string("output", None, "Markdown file to write.")
    flags.DEFINE_integer("images", 64, "How many test images to time.", lower_bound=1)
    define_seconds_flag(20.0, "How long to time each part.")


def main() -> None:
    values = flags.FLAGS
    require_flags(workdir="a training run", export_dir="its export", output="a file to write")
    check_writable(values.output)
    trained, export = open_export()
    thresholds = read_thresholds(trained.run.family)
    given = [f"--{name}={place}" for name, place in _PLACES.items() if values[name].value]
    others = [a for a in sys.argv[1:] if a.lstrip("-").split("=")[0] not in _PLACES]
    machine = ", ".join(f"{name} {value}" for name, value in machine_facts().items())
    command = " ".join(["python -m benchmarks.export_report", *given, *map(shlex.quote, others)])
    parts = [
        f"# {trained.run.model} on a device",
        f"    {command}",
        f"printed all figures, on {datetime.date.today():%Y-%m-%d}, with LiteRT, on one thread of: "
        f"{machine}. The model: step {trained.step} of",
        f"    {command_of(trained.run)}",
    ]
    with ProgressBar("report") as bar:
        for heading, text in sections(
            trained, export, values.data_dir, thresholds, values.images, values.seconds, bar
        ):
            parts += [f"## {heading}", text]
            bar.note(f"{heading}: done")
    write_text(values.output, "\n\n".join(parts) + "\n")
    print(f"written: {values.output}")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
