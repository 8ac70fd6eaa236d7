"""Puts folded weights back into a Keras model: the inverse of folding.py."""

from __future__ import annotations

import keras
import numpy as np

from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.models.drnet.network import DRNet
from export.graphs.drnet.folding import stem_layers
from export.graphs.drnet.forward import DRNetGraph
from export.graphs.drnet.network import Cell, Router
from export.graphs.parts import Conv, Dense


def write_weights(model: DRNet, network: DRNetGraph) -> None:
    """Gives a model the weights of a network of the same architecture.

    A normalization then adds the bias and does nothing else, so that folding it again gives the
    same float32 numbers. The auxiliary head keeps its weights; no inference uses it.
    """
    if network.config != model.config or network.own_layers:
        raise ValueError("the network is of another architecture, or has branches of one's own")
    for (layer, norm), conv in zip(stem_layers(model), network.stem, strict=True):
        _write_conv(layer, norm, conv)
    for layer, cell in zip(model.cells, network.cells, strict=True):
        _write_cell(layer, cell)
    _write_dense(model.classifier.dense, network.classifier)


def _write_cell(layer, cell: Cell) -> None:
    for preprocess, parts in zip(layer.preprocess, cell.preprocess, strict=True):
        for pointwise, conv in zip(preprocess.pointwise, parts, strict=True):
            pointwise.kernel.assign(conv.kernel)
        _set_norm(preprocess.norm, np.concatenate([conv.bias for conv in parts]))
    if cell.router is not None:
        _write_router(layer.router, cell.router)
    for group, members in layer.separable_members.items():
        stack = layer.separable_convs[str(group)]
        for i, norm in enumerate(stack.norm):
            weights = [cell.separable[key][i] for key in members]
            depthwise = [w.depthwise.kernel for w in weights]
            for size, kernels in stack.depthwise[i].items():
                kernels.assign(
                    np.stack([kernel for kernel in depthwise if len(kernel) == int(size)])
                )
            stack.pointwise[i].assign(np.stack([w.pointwise.kernel[0, 0] for w in weights]))
            _set_norm(norm, np.stack([w.pointwise.bias for w in weights]))


def _write_router(layer, router: Router) -> None:
    parts = zip(layer.depthwise, layer.pointwise, layer.norm, router.blocks, strict=True)
    for depthwise, pointwise, norm, block in parts:
        depthwise.kernel.assign(block.depthwise.kernel)
        _write_conv(pointwise, norm, block.pointwise)
    _write_dense(layer.dense, router.dense)


def _write_conv(layer, norm: BatchNorm, conv: Conv) -> None:
    layer.kernel.assign(conv.kernel)
    _set_norm(norm, conv.bias)


def _write_dense(layer: keras.layers.Dense, dense: Dense) -> None:
    layer.kernel.assign(dense.kernel)
    layer.bias.assign(dense.bias)


def _set_norm(norm: BatchNorm, bias: np.ndarray) -> None:
    norm.gamma.assign(np.ones_like(bias))
    norm.beta.assign(bias)
    norm.moving_mean.assign(np.zeros_like(bias))
    # The float32 nearest to 1 - epsilon is off by 2^-25 at most, the scale of a kernel by 2^-26.
    # Half a step of float32 is more than that: a folded kernel is rounded to what it was.
    norm.moving_variance.assign(np.full_like(bias, 1 - norm.epsilon))
