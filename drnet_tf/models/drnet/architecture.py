"""The architecture of a DRNet as data: its configuration and every shape that follows from it.

Model, cost and export all read the shapes from here, so that none of them can disagree.
Section and equation numbers are those of Cai et al., "Dynamic Routing Networks", WACV 2021.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from drnet_tf.errors import require
from drnet_tf.layers.geometry import INPUTS_PER_NODE, STEM_MULTIPLIER, CellGeometry, half
from drnet_tf.layers.gumbel_softmax import RECALIBRATIONS
from drnet_tf.models.config import Config, pixels

PAPER_BRANCHES = ("max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "sep_conv_5x5", "skip")
STEMS = ("cifar", "imagenet")
ROUTERS = ("routernet", "none")


@dataclasses.dataclass(frozen=True)
class DRNetConfig(Config):
    """Holds everything that defines a DRNet.

    Args:
        cells: number of cells, the paper's L.
        channels: channels C of the first cell; each reduction cell doubles them.
        nodes: intermediate nodes of a cell, the paper's N.
        branches: names in `drnet_tf.layers.branches.BRANCHES`, in order of selection ties.
        stem: "cifar" (one 3x3 convolution) or "imagenet" (three strided ones).
        router: "routernet", or "none" for the ablation with uniform weights.
        recalibration: "gumbel_softmax", or the ablations "softmax" (no noise) and "none".
        node_inputs: for each node the two indices it reads, 0 and 1 being the cell's inputs and
            n + 2 its node n. Drawn from `connection_seed` where not given, and stored from then on.
        connection_seed: seed from which it is drawn which inputs of the cell the nodes read.
    """

    cells: int = dataclasses.field(default=5, metadata={"least": 1})
    channels: int = dataclasses.field(default=15, metadata={"least": 2})
    nodes: int = dataclasses.field(default=4, metadata={"least": 1})
    branches: tuple[str, ...] = PAPER_BRANCHES
    stem: str = dataclasses.field(default="cifar", metadata={"choices": STEMS})
    router: str = dataclasses.field(default="routernet", metadata={"choices": ROUTERS})
    recalibration: str = dataclasses.field(
        default="gumbel_softmax", metadata={"choices": RECALIBRATIONS, "shapes": False}
    )
    mean: tuple[float, float, float] = pixels()
    deviation: tuple[float, float, float] = pixels()
    node_inputs: tuple[tuple[int, int], ...] = dataclasses.field(
        default=(), metadata={"flag": False}
    )
    connection_seed: int = dataclasses.field(default=0, metadata={"least": 0, "shapes": False})

    def __post_init__(self):
        super().__post_init__()
        names = self.branches
        differ = not isinstance(names, str) and 0 < len(set(names)) == len(tuple(names))
        require(differ, "branches must be a list of different names", names)
        object.__setattr__(self, "branches", tuple(names))
        inputs = self.node_inputs
        pairs = all(len(pair) == INPUTS_PER_NODE for pair in inputs)
        require(pairs, "node_inputs must hold pairs of indices", inputs)
        inputs = inputs or draw_node_inputs(self.nodes, self.connection_seed)
        inputs = tuple((int(a), int(b)) for a, b in inputs)
        earlier = all(
            0 <= index < node + INPUTS_PER_NODE
            for node, pair in enumerate(inputs)
            for index in pair
        )
        require(
            len(inputs) == self.nodes and earlier,
            f"node_inputs must hold {self.nodes} pairs of earlier indices, or be () to be drawn",
            inputs,
        )
        object.__setattr__(self, "node_inputs", inputs)

    @property
    def connections(self) -> int:
        """Counts the connections of one cell: two for each node."""
        return self.nodes * INPUTS_PER_NODE

    @property
    def sources(self) -> tuple[int, ...]:
        """Returns for each connection of a cell, in order, the index that it reads."""
        return tuple(source for pair in self.node_inputs for source in pair)

    @functools.cached_property
    def cell_geometry(self) -> tuple[CellGeometry, ...]:
        """Returns the shapes of the cells in order."""
        return tuple(_cell_geometry(self))

    @property
    def auxiliary_cell(self) -> int:
        """Returns the cell that feeds the auxiliary head (Sec. 4.1): the second reduction cell."""
        return 2 * self.cells // 3


def stem_shapes(config: DRNetConfig) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns (channels, height) of the two feature maps that the first cell reads."""
    if config.stem == "cifar":
        shape = (STEM_MULTIPLIER * config.channels, config.image_size)
        return shape, shape
    quarter = half(half(config.image_size))
    return (config.channels, quarter), (config.channels, half(quarter))


def output_channels(config: DRNetConfig) -> int:
    """Returns the channels of the last cell's output, which the classifier reads."""
    return config.nodes * config.cell_geometry[-1].channels


def draw_node_inputs(nodes: int, seed: int) -> tuple[tuple[int, int], ...]:
    """Draws what nodes read: the predecessor and one of the cell's inputs (Sec. 3.1)."""
    generator = np.random.default_rng(seed)
    later = tuple((node + 1, int(generator.integers(2))) for node in range(1, nodes))
    return ((1, 0), *later)


def _cell_geometry(config: DRNetConfig):
    channels = config.channels
    previous = list(stem_shapes(config))
    for cell in range(config.cells):
        reduction = cell in (config.cells // 3, 2 * config.cells // 3)
        channels *= 2 if reduction else 1
        size = previous[1][1]
        output_size = half(size) if reduction else size
        yield CellGeometry(
            channels=channels,
            input_channels=(previous[0][0], previous[1][0]),
            input_sizes=(previous[0][1], previous[1][1]),
            size=size,
            output_size=output_size,
            reduction=reduction,
        )
        previous = [previous[1], (config.nodes * channels, output_size)]
