"""Counts every registered model and puts published figures beside: `python -m drnet_tf.count`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from drnet_tf.command_line import run
from drnet_tf.models.family import Published
from drnet_tf.models.registry import FAMILIES, family_of, model_config

MILLION = 1e6


@dataclasses.dataclass(frozen=True)
class Row:
    """Holds a counted network beside published figures."""

    label: str
    config: Any
    published: Published


def rows() -> list[Row]:
    """Lists every registered model, and every published ablation of one."""
    found = []
    for family in FAMILIES.values():
        for name, variant in family.variants.items():
            for task in variant.tasks:
                model = f"{name}.{task}"
                published = variant.published.get(task, ())
                if not any(not figures.overrides for figures in published):
                    published = (Published(), *published)
                for figures in published:
                    changes = [f"{field}={value}" for field, value in figures.overrides.items()]
                    config = model_config(model, **figures.overrides)
                    found.append(Row(" ".join([model, *changes]), config, figures))
    return found


def deviation(counted: float, published: float | None) -> str:
    """Tells how far a count is from a published one, in percent of the latter."""
    return "" if published is None else f"{100 * (counted - published) / published:+.1f}"


def table(counted_rows: list[Row]) -> Table:
    """Makes a table with one line per network."""
    sources = dict.fromkeys(row.published.source for row in counted_rows if row.published.source)
    result = Table(
        title="Millions, counted here with all units and as published, and the deviation",
        caption=f"published: {'; '.join(sources)}",
        box=box.SIMPLE_HEAD,
    )
    result.add_column("model", no_wrap=True)
    for heading in ("params", "publ.", "%", "MACs", "publ.", "%"):
        result.add_column(heading, justify="right", no_wrap=True)
    for row in counted_rows:
        cost = family_of(row.config).cost(row.config).total
        params, macs = cost.params / MILLION, cost.macs / MILLION
        published = row.published
        result.add_row(
            row.label,
            f"{params:.3f}",
            "" if published.params is None else f"{published.params:.2f}",
            deviation(params, published.params),
            f"{macs:.2f}",
            "" if published.macs is None else f"{published.macs:.2f}",
            deviation(macs, published.macs),
        )
    return result


def main() -> None:
    Console().print(table(rows()))


if __name__ == "__main__":
    run(main)
