"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown, numbers to the right."""
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---:|" * len(heading),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
