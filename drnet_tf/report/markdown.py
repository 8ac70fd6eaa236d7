"""Writes tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table, numbers to the right."""
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---:|" * len(heading),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
