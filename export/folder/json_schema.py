"""Checks a value against a JSON schema: the part of draft 2020-12 that ours uses.

A keyword that is not known here fails, so that nothing of a schema goes unchecked.
"""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
}

_ANNOTATIONS = {"$schema", "$defs", "title", "description"}


def violations(value: Any, schema: dict, root: dict | None = None, where: str = "$") -> list[str]:
    """What is wrong with a value, a line each.

    Args:
        value: as `json.loads` gives it.
        schema: for it.
        root: where references are looked up; None for `schema`.
        where: the path to the value.
    """
    root = root or schema
    if "$ref" in schema:
        target = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return violations(value, target, root, where)
    found: list[str] = []

    def check(ok: bool, text: str) -> None:
        if not ok:
            found.append(f"{where}: {text}")

    for keyword, argument in schema.items():
        match keyword:
            case "type":
                # In Python a bool is an int too, in JSON it is not.
                is_bool = isinstance(value, bool)
                if not isinstance(value, _TYPES[argument]) or is_bool != (argument == "boolean"):
                    return [*found, f"{where}: is no {argument}"]
            case "const":
                check(type(value) is type(argument) and value == argument, f"is not {argument!r}")
            case "enum":
                check(value in argument, f"is none of {argument}")
            case "minimum":
                check(value >= argument, f"is less than {argument}")
            case "maximum":
                check(value <= argument, f"is more than {argument}")
            case "minItems":
                check(len(value) >= argument, f"has less than {argument} items")
            case "maxItems":
                check(len(value) <= argument, f"has more than {argument} items")
            case "pattern":
                check(re.search(argument, value) is not None, f"does not match {argument}")
            case "required":
                for name in argument:
                    check(name in value, f"lacks {name}")
            case "properties":
                for name in argument.keys() & value.keys():
                    found += violations(value[name], argument[name], root, f"{where}.{name}")
            case "additionalProperties":
                for name in value.keys() - schema.get("properties", {}).keys():
                    found += violations(value[name], argument, root, f"{where}.{name}")
            case "items":
                for i, item in enumerate(value):
                    found += violations(item, argument, root, f"{where}[{i}]")
            case _ if keyword not in _ANNOTATIONS:
                raise ValueError(f"{keyword} is not checked: add it")
    return found
