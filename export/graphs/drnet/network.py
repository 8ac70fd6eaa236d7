"""The weights of a trained DRNet as numpy arrays, with batch normalization folded in.

Everything that an exported graph computes with comes from here, so that the .tflite and the
SavedModel cannot differ. All arrays are float32; folding is done in float64.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import keras

from drnet_tf.layers.geometry import CellGeometry
from drnet_tf.models.cost import CostTable
from drnet_tf.models.drnet.architecture import DRNetConfig
from export.graphs.in_float import ROUTER
from export.graphs.parts import Change, Conv, Dense, Depthwise, DepthwisePointwise, Part, Separable

#: Indices of a connection and a branch.
Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Router:
    """Holds a RouterNet: its blocks, and the dense layer to connections x branches weights."""

    blocks: tuple[DepthwisePointwise, ...]
    dense: Dense

    def map(self, name: str, change: Change) -> Router:
        """Returns the router with other parts."""
        blocks = (block.map(f"{name}_{i}", change) for i, block in enumerate(self.blocks))
        return Router(tuple(blocks), change(f"{name}_dense", self.dense))


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """Holds one cell.

    Args:
        geometry: its shapes.
        preprocess: for each of the two inputs its 1x1 convolution; two of them, for the even
            and the odd pixels, where the input is factorized.
        router: None where the branch weights are uniform.
        separable: by (connection, branch) index.
        layers: the Keras layers of `LayerBranch`es by (connection, branch) index.
    """

    geometry: CellGeometry
    preprocess: tuple[tuple[Conv, ...], tuple[Conv, ...]]
    router: Router | None
    separable: dict[Pair, Separable]
    layers: dict[Pair, keras.layers.Layer]

    def map(self, name: str, change: Change) -> Cell:
        """Returns the cell with other parts."""
        first, second = (
            _map_convs(f"{name}_input_{i}", convs, change)
            for i, convs in enumerate(self.preprocess)
        )
        return dataclasses.replace(
            self,
            preprocess=(first, second),
            router=self.router and self.router.map(f"{name}_{ROUTER}", change),
            separable={
                key: tuple(
                    part.map(separable_name(name, key, i), change) for i, part in enumerate(parts)
                )
                for key, parts in self.separable.items()
            },
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """Holds all that inference needs of a model.

    Args:
        config: its architecture.
        stem: its convolutions, first to last.
        cells: first to last.
        classifier: from the pooled output of the last cell to logits.
        temperature: tau of the recalibration.
        cost: what its branches and the fixed part cost.
    """

    config: DRNetConfig
    stem: tuple[Conv, ...]
    cells: tuple[Cell, ...]
    classifier: Dense
    temperature: float
    cost: CostTable

    def map(self, change: Change) -> Self:
        """Returns the network with `change(name, part)` in the place of every part."""
        cells = (cell.map(f"cell_{i}", change) for i, cell in enumerate(self.cells))
        return dataclasses.replace(
            self,
            stem=_map_convs("stem", self.stem, change),
            cells=tuple(cells),
            classifier=change("classifier", self.classifier),
        )


def separable_name(cell: str, key: Pair, application: int) -> str:
    """Names an application of a separable convolution; its parts have longer names."""
    return f"{cell}_connection_{key[0]}_branch_{key[1]}_{application}"


def is_compressed(name: str, part: Part) -> bool:
    """Tells whether a kernel is one to compress: no depthwise one, none of a router.

    A depthwise filter has 9 or 25 weights, each of which alone connects two pixels of its channel:
    tensorflow-model-optimization leaves them as they are, too. What a router selects jumps where
    its weights change by little, and its balance of accuracy and cost is not what is fine-tuned.
    """
    return not isinstance(part, Depthwise) and ROUTER not in name


def _map_convs(name: str, convs: tuple[Conv, ...], change: Change) -> tuple[Conv, ...]:
    return tuple(change(f"{name}_{i}", conv) for i, conv in enumerate(convs))
