"""Results as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from drnet_tf.evaluation.thresholds import ThresholdResult


def threshold_table(results: Sequence[ThresholdResult], all_macs: int, title: str) -> Table:
    """Accuracy, and parameters and MACs over the images, by threshold.

    Args:
        all_macs: of the network with all branches.
    """
    table = Table(title=title, title_justify="left")
    for name in ("T", "accuracy %", "params k", "MACs M", "min", "p50", "p95", "max", "% of all"):
        table.add_column(name, justify="right")
    for result in results:
        macs = result.macs
        table.add_row(
            f"{result.threshold:g}",
            f"{100 * result.accuracy:.2f}",
            f"{result.params.mean / 1e3:.1f}",
            *(f"{v / 1e6:.2f}" for v in (macs.mean, macs.min, macs.p50, macs.p95, macs.max)),
            f"{100 * macs.mean / all_macs:.1f}",
        )
    return table
