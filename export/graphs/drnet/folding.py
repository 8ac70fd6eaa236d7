"""Reads the weights of a trained DRNet, with batch normalization folded in."""

from __future__ import annotations

from typing import Any

import numpy as np

from drnet_tf.models.drnet.network import DRNet
from export.graphs.drnet.forward import DRNetGraph
from export.graphs.drnet.network import Cell, Pair, Router
from export.graphs.parts import Conv, Dense, Depthwise, DepthwisePointwise, Separable, fold


def read_weights(model: DRNet) -> DRNetGraph:
    """Reads a Keras model whose variables are all there, and folds its normalization."""
    return DRNetGraph(
        config=model.config,
        stem=tuple(fold(_array(conv.kernel), *_moments(norm)) for conv, norm in stem_layers(model)),
        cells=tuple(_read_cell(cell) for cell in model.cells),
        classifier=_read_dense(model.classifier.dense),
        temperature=float(_array(model.temperature)),
        cost=model.cost,
    )


def stem_layers(model: DRNet) -> list[tuple[Any, Any]]:
    """Lists the convolutions of the stem with the normalization behind each, first to last."""
    stem: Any = model.stem
    if model.config.stem == "cifar":
        return [(stem.convolution, stem.norm)]
    return list(zip(stem.convolutions, stem.norms, strict=True))


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
            Depthwise(_array(depthwise.kernel)), fold(_array(pointwise.kernel), *_moments(norm))
        )
        for depthwise, pointwise, norm in zip(
            router.depthwise, router.pointwise, router.norm, strict=True
        )
    )
    return Router(blocks, _read_dense(router.dense))


def _read_separable(cell) -> dict[Pair, Separable]:
    """Takes apart the stacks in which the model runs separable convolutions together."""
    found = {}
    for group, members in cell.separable_members.items():
        stack = cell.separable_convs[str(group)]
        depthwise = [stack.depthwise_kernels(i) for i in range(len(stack.norm))]
        for member, key in enumerate(members):
            found[key] = tuple(
                DepthwisePointwise(
                    Depthwise(_array(depthwise[i][member])),
                    fold(_array(stack.pointwise[i])[member][None, None], *_moments(norm, member)),
                )
                for i, norm in enumerate(stack.norm)
            )
    return found


def _read_dense(layer) -> Dense:
    return Dense(_array(layer.kernel), _array(layer.bias))


def _moments(norm, group: int | None = None) -> tuple:
    """Reads (gamma, beta, mean, variance, epsilon) of a normalization or one of its groups."""
    variables = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    arrays = [_array(variable) for variable in variables]
    return (*(array if group is None else array[group] for array in arrays), norm.epsilon)


def _array(variable) -> np.ndarray:
    return np.asarray(variable.numpy(), np.float32)
