"""Counts every registered model and puts the paper's figures beside: `python -m drnet_tf.count`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from drnet_tf.command_line import run
from drnet_tf.layers.cost import Cost
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.cost import cost_table
from drnet_tf.models.drnet.variants import PAPER, WITHOUT_ROUTER, PaperCount
from drnet_tf.models.registry import list_models, model_config

MILLION = 1e6


@dataclasses.dataclass(frozen=True)
class Row:
    """A counted network beside the paper's figures."""

    label: str
    config: DRNetConfig
    paper: PaperCount


def rows() -> list[Row]:
    """Every registered model, and the paper's ablation of DRNet(S) without RouterNet."""

    def row(name: str, label: str, paper: PaperCount, **overrides: Any) -> Row:
        return Row(label, model_config(name, **overrides), paper)

    ablation = "drnet_s.cifar10"
    return [
        row(ablation, f"{ablation} router=none", WITHOUT_ROUTER, router="none"),
        *(row(name, name, PAPER.get(name, PaperCount())) for name in list_models()),
    ]


def count(config: DRNetConfig) -> Cost:
    """Trainable parameters and multiply-accumulates, all branches, no auxiliary head."""
    return cost_table(config).total


def deviation(counted: float, paper: float | None) -> str:
    """How far a count is from the paper's, in percent of the latter."""
    return "" if paper is None else f"{100 * (counted - paper) / paper:+.1f}"


def table(counted_rows: list[Row]) -> Table:
    """One line a network."""
    result = Table(
        title="Millions, counted here and in the paper, and the deviation", box=box.SIMPLE_HEAD
    )
    result.add_column("model", no_wrap=True)
    for heading in ("params", "paper", "%", "MACs", "paper", "%"):
        result.add_column(heading, justify="right", no_wrap=True)
    for row in counted_rows:
        cost = count(row.config)
        params, macs = cost.params / MILLION, cost.macs / MILLION
        result.add_row(
            row.label,
            f"{params:.3f}",
            "" if row.paper.params is None else f"{row.paper.params:.2f}",
            deviation(params, row.paper.params),
            f"{macs:.2f}",
            "" if row.paper.macs is None else f"{row.paper.macs:.2f}",
            deviation(macs, row.paper.macs),
        )
    return result


def main() -> None:
    Console().print(table(rows()))


if __name__ == "__main__":
    run(main)
