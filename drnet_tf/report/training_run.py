"""What a training run was and came to, as a document."""

from __future__ import annotations

from collections.abc import Sequence

from drnet_tf.evaluation.tables import result_cells
from drnet_tf.evaluation.thresholds import ThresholdResult
from drnet_tf.report.markdown import markdown_table
from drnet_tf.runs.telemetry import macs_columns
from drnet_tf.runs.workdir import Trained
from drnet_tf.training_flags import command_of

#: Columns of metrics.csv without which there is no report.
NEEDED_COLUMNS = ("epoch", "stage", "steps", "images_per_second")
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
    "images_per_second": ("images/s", 1, ".0f"),
}


def report_text(
    trained: Trained,
    epochs: Sequence[dict[str, str]],
    results: Sequence[ThresholdResult],
    norm_moments: dict | None,
    machine: dict,
    picture: str,
) -> str:
    """Writes the report in Markdown.

    Args:
        epochs: rows of metrics.csv.
        results: on the test images, by threshold.
        norm_moments: what `read_norm_moments` gave.
        machine: facts of where the report is made.
        picture: file name of the curves.
    """
    run, everything = trained.run, trained.model.cost.total
    batch_size = run.recipe.batch_size
    seconds = sum(
        float(row["steps"]) * batch_size / float(row["images_per_second"]) for row in epochs
    )
    images = sum(int(row["steps"]) * batch_size for row in epochs)
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    cells = [result_cells(result, everything.macs) for result in results]
    lines = [
        f"# {run.model} on {run.dataset}",
        "",
        *(f"    {line}" for line in _wrapped(command_of(run))),
        "",
        f"{trained.step} steps of {batch_size} images, {images / seconds:.0f} images per second, "
        f"{trained.step * batch_size / images * seconds / 60:.0f} minutes of training; seed "
        f"{run.settings.seed}. This report was made on: {facts}.",
        "",
        f"The weights are those of the last checkpoint{_average(run.recipe.weight_average)}"
        f"{_moments(norm_moments)}.",
        "",
        f"![accuracy and cost by epoch, accuracy by cost]({picture})",
        "",
        f"## By threshold, {results[0].images} test images",
        "",
        *markdown_table(list(cells[0]), [list(row.values()) for row in cells]),
        "",
        "## By epoch",
        "",
    ]
    columns = _EPOCH_COLUMNS | {
        name: (f"MACs M at T = {threshold}", 1e-6, ".1f")
        for name, threshold in macs_columns(epochs).items()
    }
    columns = {name: c for name, c in columns.items() if any(row.get(name) for row in epochs)}
    rows = [
        [str(int(row["epoch"]) + 1), *(_cell(row.get(name), *columns[name]) for name in columns)]
        for row in epochs
    ]
    lines += markdown_table(["epoch", *(heading for heading, _, _ in columns.values())], rows)
    return "\n".join(lines) + "\n"


def _wrapped(command: str, width: int = 100) -> list[str]:
    """Breaks a command into lines that a shell reads as one."""
    lines, line = [], ""
    for word in command.split(" "):
        if line and len(line) + len(word) + 3 > width:
            lines.append(f"{line} \\")
            line = "    " + word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def _average(share: float) -> str:
    return f", averaged with a time constant of {share:g} of the run" if share else ""


def _moments(norm_moments: dict | None) -> str:
    if norm_moments is None:
        return ""
    return (
        f"; the moments of batch normalization are those of {norm_moments['images']} training "
        f"images at T = {norm_moments['threshold']:g}"
    )


def _cell(value: str | None, heading: str, factor: float, form: str) -> str:
    return format(factor * float(value), form) if value else ""
