"""Writes a route, the units that an image selects, as one short word for tables.

The bits of `selected`, such as [cells, connections, branches], in that order, the last axis running
fastest, 1 for a selected unit; filled up with zeros to whole bytes, the first bit being the highest
of the first byte; written as two hexadecimal digits per byte. 3 cells of 8 connections of 5
branches are 120 bits, 30 digits.
"""

from __future__ import annotations

import numpy as np

from drnet_tf.errors import UserError


def route_text(selected: np.ndarray) -> str:
    """Returns the hexadecimal digits of a selection, bool of any shape."""
    return np.packbits(np.asarray(selected, bool)).tobytes().hex()


def read_route(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the selection that `route_text` wrote.

    Args:
        shape: of the units, which model.json has.

    Raises:
        UserError: the text is no route of this shape.
    """
    bits = int(np.prod(shape))
    try:
        route = np.frombuffer(bytes.fromhex(text), np.uint8)
    except ValueError as error:
        raise UserError(f"{text!r} is no route: it must be hexadecimal digits") from error
    if len(route) != -(-bits // 8):
        raise UserError(f"a route of {bits} units has {2 * -(-bits // 8)} digits, not {text!r}")
    return np.unpackbits(route, count=bits).reshape(shape).astype(bool)
