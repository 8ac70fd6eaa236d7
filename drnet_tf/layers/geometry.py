"""Shapes that follow from strides and from what a connection reads."""

from __future__ import annotations

import dataclasses
from typing import Any

INPUTS_PER_NODE = 2
STEM_MULTIPLIER = 3  # the CIFAR stem has 3C channels, as in DARTS


@dataclasses.dataclass(frozen=True)
class CellGeometry:
    """Holds the shapes of one cell; all images and feature maps are square.

    Args:
        channels: of every node of the cell.
        input_channels: of the two inputs (the cell before the previous one, the previous one).
        input_sizes: height of the two inputs.
        size: height of both inputs after preprocessing.
        output_size: height of the nodes.
        reduction: whether the connections that read a cell input have stride 2.
    """

    channels: int
    input_channels: tuple[int, int]
    input_sizes: tuple[int, int]
    size: int
    output_size: int
    reduction: bool

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CellGeometry:
        """Makes the geometry of a dictionary, which may have lists for tuples."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**fields)

    @property
    def factorized(self) -> bool:
        """Tells whether input 0 is twice as large as input 1 and has to be reduced first."""
        return self.input_sizes[0] != self.size

    def stride(self, source: int) -> int:
        """Returns the stride of a connection that reads index `source` of the cell."""
        return 2 if self.reduction and source < INPUTS_PER_NODE else 1

    def height(self, source: int) -> int:
        """Returns the height of index `source` of the cell, which a connection reads."""
        return self.size if source < INPUTS_PER_NODE else self.output_size


def half(size: int) -> int:
    """Returns the height after a stride of 2 with "same" padding."""
    return (size + 1) // 2
