"""The candidate branches of a connection (Sec. 3.1), and what each of them costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
from keras import ops

from drnet_tf.errors import InputError
from drnet_tf.layers.average_pool import average_pool
from drnet_tf.layers.cost import Cost
from drnet_tf.layers.geometry import half
from drnet_tf.layers.subsampling import subsample


@dataclasses.dataclass(frozen=True)
class Pool:
    """Pools over size x size with "same" padding; an average leaves the padding out."""

    kind: str
    size: int

    def apply(self, x, stride: int):
        if self.kind == "average" and stride == 1:
            return average_pool(x, self.size)
        pool = {"max": ops.max_pool, "average": ops.average_pool}[self.kind]
        return pool(x, self.size, stride, padding="same")

    def cost(self, channels: int, stride: int, size: int) -> Cost:
        return Cost(0, self.size**2 * channels * output_size(size, stride) ** 2)


@dataclasses.dataclass(frozen=True)
class Skip:
    """Passes the node on; with stride 2 every second pixel, which needs no parameters either."""

    def apply(self, x, stride: int):
        return subsample(x, stride)

    def cost(self, channels: int, stride: int, size: int) -> Cost:
        return Cost(0, 0)


@dataclasses.dataclass(frozen=True)
class SeparableConv:
    """Applies ReLU, depthwise k x k, pointwise, batch normalization twice, as in DARTS.

    `drnet_tf.layers.separable_conv` runs those of several connections together.
    """

    kernel_size: int

    def cost(self, channels: int, stride: int, size: int) -> Cost:
        weights = self.kernel_size**2 * channels + channels**2
        once = Cost(weights + 2 * channels, (weights + channels) * output_size(size, stride) ** 2)
        return once + once


@dataclasses.dataclass(frozen=True)
class LayerBranch:
    """Makes any Keras layer a branch that keeps the channels and honours the stride.

    Args:
        make_layer: called with (channels, stride), returns a layer for one connection; it is
            called with the node, float [batch, height, width, channels], and `training`.
        make_cost: called with (channels, stride, size), size being the height of the input.
    """

    make_layer: Callable[[int, int], keras.layers.Layer]
    make_cost: Callable[[int, int, int], Cost]

    def cost(self, channels: int, stride: int, size: int) -> Cost:
        return self.make_cost(channels, stride, size)


Branch = Pool | Skip | SeparableConv | LayerBranch
#: Every branch that a configuration can name. Add one of your own before building a model.
BRANCHES: dict[str, Branch] = {
    "max_pool_3x3": Pool("max", 3),
    "avg_pool_3x3": Pool("average", 3),
    "sep_conv_3x3": SeparableConv(3),
    "sep_conv_5x5": SeparableConv(5),
    "skip": Skip(),
}


def find_branch(name: str) -> Branch:
    """Finds the branch of that name in a configuration."""
    if name not in BRANCHES:
        raise InputError(f"unknown branch {name!r}; known: {', '.join(BRANCHES)}")
    return BRANCHES[name]


def is_parameter_free(branch: Branch) -> bool:
    """Tells whether two connections that read one node would compute the same with it."""
    return isinstance(branch, Pool | Skip)


def output_size(size: int, stride: int) -> int:
    """Returns the height of a branch's output for an input of height `size`."""
    return size if stride == 1 else half(size)
