"""The parts of a network at inference as numpy arrays, normalization folded in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Rounding:
    """Says how a graph imitates a convolution in int8, see export/quantize/rounding.py.

    Args:
        input, output: the smallest and the largest value that its input and its output are rounded
            and clipped to. None: it stays as it is, as in every graph that is exported.
    """

    input: tuple[float, float] | None = None
    output: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Conv:
    """Holds a convolution with the normalization that follows it.

    Args:
        kernel: [height, width, inputs, outputs].
        bias: [outputs].
    """

    kernel: np.ndarray
    bias: np.ndarray
    rounding: Rounding = Rounding()


@dataclasses.dataclass(frozen=True, eq=False)
class Depthwise:
    """Holds a depthwise convolution without bias, kernel [height, width, channels, 1]."""

    kernel: np.ndarray
    rounding: Rounding = Rounding()


@dataclasses.dataclass(frozen=True, eq=False)
class Dense:
    """Holds a dense layer: kernel [inputs, outputs], bias [outputs]."""

    kernel: np.ndarray
    bias: np.ndarray


Part = Conv | Depthwise | Dense
#: Called with the name of a part, unique in its graph, and the part; returns one of its type.
Change = Callable[[str, Any], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class DepthwisePointwise:
    """Holds a depthwise convolution and the pointwise one behind it."""

    depthwise: Depthwise
    pointwise: Conv

    def map(self, name: str, change: Change) -> DepthwisePointwise:
        """Returns what `change` makes of both."""
        return DepthwisePointwise(
            change(f"{name}_depthwise", self.depthwise), change(f"{name}_pointwise", self.pointwise)
        )


#: The applications of a separable convolution, first to last.
Separable = tuple[DepthwisePointwise, ...]


def fold(kernel, gamma, beta, mean, variance, epsilon: float) -> Conv:
    """Makes the convolution that equals one without bias and the batch normalization behind it.

    Args:
        kernel: [height, width, inputs, outputs].
        gamma, beta, mean, variance: [outputs].
        epsilon: that of the normalization.
    """
    gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in (gamma, beta, mean, variance))
    scale = gamma / np.sqrt(variance + epsilon)
    return Conv(
        (np.asarray(kernel, np.float64) * scale).astype(np.float32),
        (beta - mean * scale).astype(np.float32),
    )
