"""What an int8 file computes in float all the same, by names.

They are scopes of operators, so that a quantizer finds them in the tensors of a .tflite file, and
occur in the names of parts, so that what imitates the file finds them in a graph.
"""

from __future__ import annotations

#: What decides a routing, and what only moves pixels.
ROUTER, EVERY_NTH_PIXEL = "router", "every_nth_pixel"
SCOPES = (ROUTER, EVERY_NTH_PIXEL)


def is_in_float(name: str) -> bool:
    """Tells whether the part of that name stays in float."""
    return any(scope in name for scope in SCOPES)
