"""Checks a value against a JSON schema: the part of draft 2020-12 that ours uses.

A keyword that is not known here fails, so that nothing of a schema goes unchecked.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "null": type(None),
    "number": (int, float),
    "object": dict,
    "string": str,
}

#: Keywords that are for values of one type only.
_OF_TYPE = {
    "minimum": "number",
    "maximum": "number",
    "minItems": "array",
    "maxItems": "array",
    "items": "array",
    "pattern": "string",
    "required": "object",
    "properties": "object",
    "additionalProperties": "object",
}
#: Whether a value is as an argument says, and what is wrong with it otherwise.
_CHECKS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "const": (lambda value, x: type(value) is type(x) and value == x, "is not {!r}"),
    "enum": (lambda value, x: value in x, "is none of {}"),
    "minimum": (operator.ge, "is less than {}"),
    "maximum": (operator.le, "is more than {}"),
    "minItems": (lambda value, x: len(value) >= x, "has less than {} items"),
    "maxItems": (lambda value, x: len(value) <= x, "has more than {} items"),
    "pattern": (lambda value, x: re.search(x, value) is not None, "does not match {}"),
}
_ANNOTATIONS = {"$schema", "$defs", "title", "description"}


def violations(value: Any, schema: dict, root: dict | None = None, where: str = "$") -> list[str]:
    """Lists what is wrong with a value, one line each.

    As the standard has it, a keyword says nothing of values of a type that it is not for.

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
    for keyword, argument in schema.items():
        if keyword in _OF_TYPE and not isinstance(value, _TYPES[_OF_TYPE[keyword]]):
            continue
        match keyword:
            case "type":
                allowed = [argument] if isinstance(argument, str) else argument
                if not any(_is_of(value, name) for name in allowed):
                    return [*found, f"{where}: is no {' or '.join(allowed)}"]
            case "required":
                found += [f"{where}: lacks {name}" for name in argument if name not in value]
            case _ if keyword in _CHECKS:
                holds, text = _CHECKS[keyword]
                if not holds(value, argument):
                    found.append(f"{where}: {text.format(argument)}")
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


def _is_of(value: Any, name: str) -> bool:
    # In Python a bool is an int too, in JSON it is not.
    return isinstance(value, _TYPES[name]) and isinstance(value, bool) == (name == "boolean")
