"""The one error that bad, missing or unsuitable data ends in."""

from __future__ import annotations

from drnet_tf.errors import InputError


class DataError(InputError):
    """Raised for data that is missing, damaged or does not fit."""
