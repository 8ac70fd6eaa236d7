"""Rewrites a .tflite file so that equal lists of numbers in it are stored once.

A weight of one scale for each output channel takes 4 bytes a channel for the scales, and 8 for
zero points that are all zero: as much again as the weights of a depthwise 3x3 kernel in int8. The
format lets tensors share these lists, and their shapes; converters write them again and again.
"""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_IDENTIFIER = b"TFL3"
#: What the format asks of the bytes of a tensor.
_ALIGNMENT = 16


def share_buffers(model: bytes) -> bytes:
    """Returns the same model in fewer bytes: what it computes does not change."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    content = np.frombuffer(model, np.uint8)
    for buffer in root.buffers:
        # Weights may lie behind the model's tables, at an offset that would move.
        if buffer.offset > 1:
            buffer.data = content[buffer.offset : buffer.offset + buffer.size]
        buffer.offset = buffer.size = 0
    builder = _SharingBuilder(len(model))
    builder.Finish(root.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


class _SharingBuilder(flatbuffers.Builder):
    """Refers to a list that it has written before instead of writing it again."""

    def __init__(self, size: int):
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802, the name in flatbuffers
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = self._bytes(x) if x.dtype == np.uint8 else self._numbers(x)
        return self._written[key]

    def _numbers(self, x: np.ndarray) -> int:
        return super().CreateNumpyVector(x)

    def _bytes(self, x: np.ndarray) -> int:
        # Builders align by the size of an element; behind this the list begins at a multiple.
        self.Prep(_ALIGNMENT, x.size)
        return super().CreateNumpyVector(x)
