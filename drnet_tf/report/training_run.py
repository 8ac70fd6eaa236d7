"""What a training run was and came to, as a document."""

from __future__ import annotations

from collections.abc import Sequence

from drnet_tf.evaluation.thresholds import ThresholdResult
from drnet_tf.report.markdown import _table
from drnet_tf.runs.telemetry import MACS_COLUMN, WATCHED_THRESHOLD
from drnet_tf.runs.workdir import Trained
from drnet_tf.training_flags import command_of

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
