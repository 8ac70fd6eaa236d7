"""What a training run was and came to: python -m drnet_tf.report --workdir=DIR --output=FILE.md

A picture goes beside the text, under the same name. The figures are of the last checkpoint.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluate import evaluate_trained, parse_thresholds
from drnet_tf.evaluation.curves import draw_run
from drnet_tf.evaluation.thresholds import ThresholdResult
from drnet_tf.machine import machine_facts
from drnet_tf.training.telemetry import MACS_COLUMN, WATCHED_THRESHOLD, read_epochs
from drnet_tf.training.workdir import RECALIBRATION_FILE, Trained, load_trained
from drnet_tf.training_flags import command_of
from drnet_tf.writing import check_writable, replacing, write_text

#: Columns of metrics.csv without which there is no report.
_NEEDED = ("epoch", "stage", "steps", "images_per_second")
#: Columns of metrics.csv in the text, with heading, factor and format.
_EPOCH_COLUMNS = {
    "stage": ("stage", 1, ".0f"),
    # Fewer than others have: the run was stopped in this epoch, and the row is of the rest of it.
    "steps": ("steps", 1, ".0f"),
    "learning_rate": ("learning rate at the end", 1, ".4f"),
    "temperature": ("tau at the end", 1, ".2f"),
    "cross_entropy": ("cross-entropy", 1, ".3f"),
    "accuracy": ("training accuracy %", 100, ".1f"),
    "validation_accuracy": ("validation accuracy %", 100, ".1f"),
    "expected_macs": ("E[MACs] M", 1e-6, ".1f"),
    MACS_COLUMN: (f"MACs M at T = {WATCHED_THRESHOLD}", 1e-6, ".1f"),
    "images_per_second": ("images/s", 1, ".0f"),
}


def read_recalibration(workdir: str) -> dict | None:
    """The content of `RECALIBRATION_FILE`, None where there is no such file.

    Raises:
        UserError: it is damaged.
    """
    path = pathlib.Path(workdir, RECALIBRATION_FILE)
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text())
        return {"images": int(values["images"]), "threshold": float(values["threshold"])}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: how many images, and what threshold?") from error


def report_text(
    trained: Trained,
    epochs: Sequence[dict[str, str]],
    results: Sequence[ThresholdResult],
    recalibration: dict | None,
    machine: dict,
    picture: str,
) -> str:
    """The report in Markdown.

    Args:
        epochs: rows of metrics.csv.
        results: on the test images, by threshold.
        recalibration: content of `RECALIBRATION_FILE`, where there is one.
        machine: facts of where the report is made.
        picture: file name of the curves.
    """
    run, everything = trained.run, trained.model.cost.total
    batch_size = run.settings["batch_size"]
    seconds = sum(
        float(row["steps"]) * batch_size / float(row["images_per_second"]) for row in epochs
    )
    images = sum(int(row["steps"]) * batch_size for row in epochs)
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    lines = [
        f"# {run.model} on {run.dataset}",
        "",
        f"    {command_of(run)}",
        "",
        f"{trained.step} steps of {batch_size} images, {images / seconds:.0f} a second, "
        f"{trained.step * batch_size / images * seconds / 60:.0f} minutes of training; seed "
        f"{run.settings['seed']}. This report was made on: {facts}.",
        "",
        f"The weights are those of the last checkpoint{_average(run.settings)}"
        f"{_recalibrated(recalibration)}.",
        "",
        f"![accuracy and cost by epoch, accuracy by cost]({picture})",
        "",
        f"## By threshold, {results[0].images} test images",
        "",
        *_table(
            ("T", "accuracy %", "params k", "MACs M", "MACs / all", "MACs M, least to p95"),
            [_threshold_row(result, everything.macs) for result in results],
        ),
        "",
        "## By epoch",
        "",
    ]
    columns = [name for name in _EPOCH_COLUMNS if any(row.get(name) for row in epochs)]
    rows = [[str(int(row["epoch"]) + 1), *(_cell(row, name) for name in columns)] for row in epochs]
    lines += _table(["epoch", *(_EPOCH_COLUMNS[name][0] for name in columns)], rows)
    return "\n".join(lines) + "\n"


def _average(settings: dict) -> str:
    share = settings.get("weight_average")
    return f", averaged with a time constant of {share:g} of the run" if share else ""


def _recalibrated(recalibration: dict | None) -> str:
    if recalibration is None:
        return ""
    return (
        f", and batch normalization is recalibrated on {recalibration['images']} training images "
        f"at T = {recalibration['threshold']:g}"
    )


def _threshold_row(result: ThresholdResult, all_macs: int) -> list[str]:
    return [
        f"{result.threshold:g}",
        f"{100 * result.accuracy:.2f}",
        f"{result.params.mean / 1e3:.1f}",
        f"{result.macs.mean / 1e6:.2f}",
        f"{result.macs.mean / all_macs:.2f}",
        f"{result.macs.min / 1e6:.1f} to {result.macs.p95 / 1e6:.1f}",
    ]


def _cell(row: dict[str, str], name: str) -> str:
    _, factor, form = _EPOCH_COLUMNS[name]
    return format(factor * float(row[name]), form) if row.get(name) else ""


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown, numbers to the right."""
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---:|" * len(heading),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    flags.DEFINE_string("workdir", None, "Folder of a training run.")
    flags.DEFINE_string("output", None, "File to write, .md; its picture gets the same name, .png.")
    flags.DEFINE_list("thresholds", "0,0.2,0.4,0.5,0.6,0.7,0.8,0.9,1", "Values of T.")
    flags.DEFINE_string("data_dir", None, "Prepared data set, instead of the run's.")


def main() -> None:
    values = flags.FLAGS
    if not values.workdir:
        raise UserError("--workdir is needed: the folder of a training run")
    output = pathlib.Path(values.output or "")
    if output.suffix != ".md":
        raise UserError(f"--output must be a file that ends in .md, not {values.output}")
    thresholds = parse_thresholds(values.thresholds)
    picture = output.with_suffix(".png")
    for path in (output, picture):
        check_writable(str(path))
    trained = load_trained(values.workdir)
    epochs = read_epochs(values.workdir, _NEEDED)
    if not epochs:
        raise UserError(f"{values.workdir} has no finished epoch to report on")
    recalibration = read_recalibration(values.workdir)
    results = evaluate_trained(trained, thresholds, values.data_dir)
    with replacing(picture) as path:
        draw_run(epochs, results, f"{trained.run.model} on {trained.run.dataset}", path)
    text = report_text(trained, epochs, results, recalibration, machine_facts(), picture.name)
    write_text(output, text)
    print(f"wrote {output} and {picture}")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
