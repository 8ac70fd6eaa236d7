"""What ends a command with one line instead of a traceback."""

from __future__ import annotations

from typing import Any


class UserError(Exception):
    """Raised for mistakes that the user can fix; printed as one line without a traceback.

    The message says what is wrong, and what to type.
    """


class InputError(UserError, ValueError):
    """Raised for a value that makes no sense, whether a command or Python code gave it."""


class Stopped(Exception):
    """Raised where the process was asked to stop, after it saved its work to resume from."""


def require(condition: bool, what_is_allowed: str, value: Any) -> None:
    """Raises an InputError, which says what is allowed and what the value is, unless it is so."""
    if not condition:
        raise InputError(f"{what_is_allowed}, not {value!r}")
