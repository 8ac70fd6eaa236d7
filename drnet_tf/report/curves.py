"""The course and the outcome of a training run as one picture."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from drnet_tf.evaluation.thresholds import ThresholdResult
from drnet_tf.runs.telemetry import macs_columns


def draw_run(
    epochs: Sequence[dict[str, str]],
    results: Sequence[ThresholdResult],
    title: str,
    path: pathlib.Path,
) -> None:
    """Writes a PNG of three panels: accuracy and cost by epoch, and accuracy by cost in the end.

    Args:
        epochs: rows of metrics.csv.
        results: of the finished model, by threshold.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    # Not pyplot, which would look for a screen.
    FigureCanvasAgg(figure)
    accuracy, cost, outcome = figure.subplots(1, 3)
    figure.suptitle(title, fontsize=10)
    _by_epoch(accuracy, epochs, {"accuracy": "training", "validation_accuracy": "validation"}, 100)
    accuracy.set(ylabel="accuracy, %, all units")
    names = {"expected_macs": "E[MACs] of Eq. 8"} | {
        name: f"selected at T = {threshold}" for name, threshold in macs_columns(epochs).items()
    }
    _by_epoch(cost, epochs, names, 1e-6)
    cost.set(ylabel="million MACs per image")
    ordered = sorted(results, key=lambda result: result.macs.mean)
    macs = [result.macs.mean / 1e6 for result in ordered]
    outcome.plot(macs, [100 * result.accuracy for result in ordered], marker="o")
    for result, x in zip(ordered, macs, strict=True):
        outcome.annotate(
            "" if result.threshold is None else f"T = {result.threshold:g}",
            (x, 100 * result.accuracy),
            xytext=(4, -10),
            textcoords="offset points",
            fontsize=7,
        )
    outcome.set(xlabel="million MACs per image", ylabel="test accuracy, %")
    for axes in (accuracy, cost, outcome):
        axes.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=110)


def _by_epoch(axes, epochs, names: dict[str, str], factor: float) -> None:
    """Draws columns of metrics.csv, with a line where stage 2 begins."""
    for column, label in names.items():
        points = [(int(row["epoch"]) + 1, row.get(column)) for row in epochs]
        known = [(epoch, factor * float(value)) for epoch, value in points if value]
        if known:
            axes.plot(*zip(*known, strict=True), marker=".", label=label)
    second = [int(row["epoch"]) for row in epochs if row["stage"] == "2"]
    if second and len(second) < len(epochs):
        axes.axvline(min(second) + 0.5, color="gray", linestyle=":", label="stage 2")
    axes.set(xlabel="epoch")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
