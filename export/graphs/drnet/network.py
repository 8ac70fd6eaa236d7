"""The weights of a trained DRNet as numpy arrays, with batch normalization folded in.

Everything that an exported graph computes with comes from here, so that the .tflite and the
SavedModel cannot differ. All arrays are float32; folding is done in float64.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from drnet_tf.layers.geometry import CellGeometry
from drnet_tf.models.drnet.architecture import DRNetConfig
from export.graphs.parts import Conv, Dense, DepthwisePointwise, Separable


@dataclasses.dataclass(frozen=True, eq=False)
class Router:
    """A RouterNet: its blocks, and the dense layer to connections x branches weights."""

    blocks: tuple[DepthwisePointwise, ...]
    dense: Dense


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """One cell.

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
    separable: dict[tuple[int, int], Separable]
    layers: dict[tuple[int, int], keras.layers.Layer]


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """All that inference needs of a model.

    Args:
        config: its architecture.
        stem: its convolutions, first to last.
        cells: first to last.
        classifier: from the pooled output of the last cell to logits.
        temperature: tau of the recalibration.
        branch_macs: int64 [cells, connections, branches].
        fixed_macs: of what always runs.
    """

    config: DRNetConfig
    stem: tuple[Conv, ...]
    cells: tuple[Cell, ...]
    classifier: Dense
    temperature: float
    branch_macs: np.ndarray
    fixed_macs: int
