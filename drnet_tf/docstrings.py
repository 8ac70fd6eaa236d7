"""Reads from a dataclass's docstring what each of its fields is."""

from __future__ import annotations

import inspect
import re

_SECTION = re.compile(r"^Args:\n(.*?)(?:\n\S|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^ {2,4}(\w+(?:, \w+)*): (.*)$")


def described_fields(description: type) -> dict[str, str]:
    """Returns the sentence of each field, as a line that begins with a capital and ends with a dot.

    Args:
        description: a dataclass; its bases are read first. Fields are described under "Args:".
    """
    found: dict[str, str] = {}
    for part in reversed(description.__mro__):
        section = _SECTION.search(inspect.cleandoc(part.__dict__.get("__doc__") or ""))
        if part is object or section is None:
            continue
        names: list[str] = []
        for line in section[1].splitlines():
            if entry := _ENTRY.match(line):
                names = entry[1].split(", ")
                found |= dict.fromkeys(names, entry[2])
            else:
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return {name: _sentence(text) for name, text in found.items()}


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return f"{text[0].upper()}{text[1:]}."
