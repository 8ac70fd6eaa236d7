"""The one error that bad, missing or unsuitable data ends in."""

from __future__ import annotations

from drnet_tf.errors import UserError


class DataError(UserError, ValueError):
    """Says that data is missing, damaged or does not fit.

    The message is one line: what is wrong and what would be right. Command lines print it and exit
    with status 1, without a traceback.
    """
