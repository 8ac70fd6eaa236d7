"""The error that a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Wrong input. The message is one line: what is wrong, and what would be right."""


class Stopped(Exception):
    """The process was asked to stop, and left its work so that it can go on from there."""
