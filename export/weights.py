"""The weights of a trained DRNet as numpy arrays, with batch normalization folded in.

Everything that an exported graph computes with comes from here, so that the .tflite and the
SavedModel cannot differ. All arrays are float32; folding is done in float64.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from drnet_tf.architecture import CellGeometry, DRNetConfig
from drnet_tf.models import DRNet


@dataclasses.dataclass(frozen=True)
class Rounding:
    """How a graph imitates a convolution in int8, see export/fake_quantization.py.

    Args:
        input, output: the smallest and the largest value that its input and its output are rounded
            and clipped to. None: it stays as it is, as in every graph that is exported.
    """

    input: tuple[float, float] | None = None
    output: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Conv:
    """A convolution with the normalization that follows it.

    Args:
        kernel: [height, width, inputs, outputs].
        bias: [outputs].
    """

    kernel: np.ndarray
    bias: np.ndarray
    rounding: Rounding = Rounding()


@dataclasses.dataclass(frozen=True, eq=False)
class Dense:
    """A dense layer: kernel [inputs, outputs], bias [outputs]."""

    kernel: np.ndarray
    bias: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class DepthwisePointwise:
    """A depthwise convolution, kernel [k, k, channels, 1], and the pointwise one behind it."""

    depthwise: np.ndarray
    pointwise: Conv
    #: Of the depthwise convolution.
    rounding: Rounding = Rounding()


#: The applications of a separable convolution, first to last.
Separable = tuple[DepthwisePointwise, ...]


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


def read_weights(model: DRNet) -> Network:
    """The folded weights of a Keras model whose variables are all there."""
    stem: Any = model.stem
    if model.config.stem == "cifar":
        stem_layers = [(stem.convolution, stem.norm)]
    else:
        stem_layers = list(zip(stem.convolutions, stem.norms, strict=True))
    return Network(
        config=model.config,
        stem=tuple(fold(_array(conv.kernel), *_moments(norm)) for conv, norm in stem_layers),
        cells=tuple(_read_cell(cell) for cell in model.cells),
        classifier=_read_dense(model.classifier.dense),
        temperature=float(_array(model.temperature)),
        branch_macs=model.cost.branch_macs,
        fixed_macs=model.cost.fixed.macs,
    )


def fold(kernel, gamma, beta, mean, variance, epsilon: float) -> Conv:
    """The convolution that equals one without bias and the batch normalization behind it.

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


def _read_cell(cell) -> Cell:
    first, second = (_read_preprocess(layer) for layer in cell.preprocess)
    # Uniform weights need no router, whether the architecture has one or not.
    uniform = cell.router is None or cell.recalibration.kind == "none"
    layers = {
        (connection, index): cell.layer_branches[f"{connection}_{name}"]
        for connection in range(len(cell.connections))
        for index, name in enumerate(cell.branch_names)
        if f"{connection}_{name}" in cell.layer_branches
    }
    return Cell(
        geometry=cell.geometry,
        preprocess=(first, second),
        router=None if uniform else _read_router(cell.router),
        separable=_read_separable(cell),
        layers=layers,
    )


def _read_preprocess(layer) -> tuple[Conv, ...]:
    kernels = [_array(conv.kernel) for conv in layer.pointwise]
    folded = fold(np.concatenate(kernels, axis=-1), *_moments(layer.norm))
    # The normalization spans the parts, which stay apart: they read different pixels.
    ends = np.cumsum([kernel.shape[-1] for kernel in kernels])[:-1]
    parts = zip(
        np.split(folded.kernel, ends, axis=-1), np.split(folded.bias, ends, axis=-1), strict=True
    )
    return tuple(Conv(kernel, bias) for kernel, bias in parts)


def _read_router(router) -> Router:
    blocks = tuple(
        DepthwisePointwise(
            _array(depthwise.kernel), fold(_array(pointwise.kernel), *_moments(norm))
        )
        for depthwise, pointwise, norm in zip(
            router.depthwise, router.pointwise, router.norm, strict=True
        )
    )
    return Router(blocks, _read_dense(router.dense))


def _read_separable(cell) -> dict[tuple[int, int], Separable]:
    """Takes the stacks, in which the model runs separable convolutions together, apart."""
    found = {}
    for group, members in cell.separable_members.items():
        stack = cell.separable_convs[str(group)]
        depthwise = [stack.depthwise_kernels(i) for i in range(len(stack.norm))]
        for member, key in enumerate(members):
            found[key] = tuple(
                DepthwisePointwise(
                    _array(depthwise[i][member]),
                    fold(_array(stack.pointwise[i])[member][None, None], *_moments(norm, member)),
                )
                for i, norm in enumerate(stack.norm)
            )
    return found


def _read_dense(layer) -> Dense:
    return Dense(_array(layer.kernel), _array(layer.bias))


def _moments(norm, group: int | None = None) -> tuple:
    """(gamma, beta, mean, variance, epsilon) of a normalization, or of one of its groups."""
    variables = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    arrays = [_array(variable) for variable in variables]
    return (*(array if group is None else array[group] for array in arrays), norm.epsilon)


def _array(variable) -> np.ndarray:
    return np.asarray(variable.numpy(), np.float32)
