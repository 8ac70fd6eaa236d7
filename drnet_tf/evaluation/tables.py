"""What evaluation found, as cells of tables: for the terminal, for reports, for the quick start."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from drnet_tf.evaluation.thresholds import ThresholdResult


def result_cells(result: ThresholdResult, all_macs: int) -> dict[str, str]:
    """Formats accuracy, and parameters and MACs over the images, by column.

    Args:
        all_macs: of the network with all units.
    """
    macs = result.macs
    return {
        "T": threshold_text(result.threshold),
        "accuracy %": f"{100 * result.accuracy:.2f}",
        "params k": f"{result.params.mean / 1e3:.1f}",
        "MACs M": f"{macs.mean / 1e6:.2f}",
        "MACs / all": f"{macs.mean / all_macs:.2f}",
        "least": f"{macs.min / 1e6:.2f}",
        "p50": f"{macs.p50 / 1e6:.2f}",
        "p95": f"{macs.p95 / 1e6:.2f}",
        "most": f"{macs.max / 1e6:.2f}",
    }


def threshold_table(results: Sequence[ThresholdResult], all_macs: int, title: str) -> Table:
    """Makes a table for the terminal with a line for each threshold."""
    return cells_table([result_cells(result, all_macs) for result in results], title)


def cells_table(
    rows: Sequence[dict[str, str]], title: str, text: Sequence[str] = (), caption: str | None = None
) -> Table:
    """Makes a table for the terminal from cells by column, numbers to the right.

    Args:
        rows: all columns are in the first one; a cell that another lacks is empty.
        text: the columns with words, which begin at the left.
    """
    table = Table(title=title, title_justify="left", caption=caption)
    for name in rows[0]:
        # Where the terminal is narrow, a cell takes more lines: nothing of it is cut off.
        table.add_column(name, justify="left" if name in text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(row.get(name, "") for name in rows[0]))
    return table


def threshold_text(threshold: float | None) -> str:
    """Returns how tables show a threshold; where nothing routes there is none."""
    return "-" if threshold is None else f"{threshold:g}"
