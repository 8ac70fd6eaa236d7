"""Channels that fill the vector lanes of a processor: a network is padded with channels of zeros.

DRNet(S) has 15, 30 and 60 channels. A kernel that computes 16 floats at a time (8 or 4 on other
processors) then works with masks and on rows that straddle cache lines. 16, 32 and 64 channels give
the same logits, since the new channels are zero through convolutions without their bias, ReLU,
pools and sums, and nothing reads them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from export.graphs.drnet.network import Cell, Network, Router
from export.graphs.parts import Conv, Dense, DepthwisePointwise

#: Floats that vector units take at a time: AVX-512, AVX2, NEON.
LANES = (16, 8, 4)
#: How many more channels are worth it: 1/15, what DRNet(S) takes.
MOST_PADDING = 1 / 15


def padded_channels(channels: int) -> int:
    """The next multiple of 16, else of 8 or 4, that is not more than `MOST_PADDING` away."""
    for lanes in LANES:
        padded = -(-channels // lanes) * lanes
        if padded - channels <= MOST_PADDING * channels:
            return padded
    return channels


def fill_vector_lanes(network: Network) -> Network:
    """The same function in padded channels.

    A network with branches that are Keras layers of one's own comes back as it is: what they would
    make of further channels is not known.
    """
    if any(cell.layers for cell in network.cells):
        return network
    stem: list[Conv] = []
    inputs = 0  # the image is not padded
    for conv in network.stem:
        outputs = conv.bias.shape[0]
        stem.append(_pad_conv(conv, inputs, outputs))
        inputs = outputs
    # Of the two feature maps that each cell reads, the channels that every part of it has.
    before, previous = network.stem[-2:] if len(network.stem) > 1 else network.stem * 2
    blocks = [before.bias.shape[0], previous.bias.shape[0]]
    cells = []
    for cell in network.cells:
        cells.append(_pad_cell(cell, blocks[-2:]))
        blocks.append(cell.geometry.channels)
    classifier = Dense(_pad(network.classifier.kernel, 0, blocks[-1]), network.classifier.bias)
    return dataclasses.replace(network, stem=tuple(stem), cells=tuple(cells), classifier=classifier)


def _pad_cell(cell: Cell, inputs: list[int]) -> Cell:
    channels = cell.geometry.channels
    first, second = (
        _pad_preprocess(parts, block, channels)
        for parts, block in zip(cell.preprocess, inputs, strict=True)
    )
    router = cell.router
    if router is not None:
        router = Router(
            tuple(_pad_depthwise_pointwise(block, channels) for block in router.blocks),
            Dense(_pad(router.dense.kernel, 0, channels), router.dense.bias),
        )
    return dataclasses.replace(
        cell,
        geometry=dataclasses.replace(cell.geometry, channels=padded_channels(channels)),
        preprocess=(first, second),
        router=router,
        separable={
            key: tuple(_pad_depthwise_pointwise(part, channels) for part in parts)
            for key, parts in cell.separable.items()
        },
    )


def _pad_preprocess(parts: tuple[Conv, ...], inputs: int, channels: int) -> tuple[Conv, ...]:
    # The outputs of the parts are concatenated: new channels come behind those of the last.
    more = padded_channels(channels) - channels
    *others, last = (Conv(_pad(part.kernel, 2, inputs), part.bias) for part in parts)
    kernel = np.pad(last.kernel, [(0, 0)] * 3 + [(0, more)])
    return (*others, Conv(kernel, np.pad(last.bias, (0, more))))


def _pad_depthwise_pointwise(weights: DepthwisePointwise, channels: int) -> DepthwisePointwise:
    return DepthwisePointwise(
        _pad(weights.depthwise, 2, channels), _pad_conv(weights.pointwise, channels, channels)
    )


def _pad_conv(conv: Conv, inputs: int, outputs: int) -> Conv:
    kernel = _pad(conv.kernel, 2, inputs) if inputs else conv.kernel
    return Conv(_pad(kernel, 3, outputs), _pad(conv.bias, 0, outputs))


def _pad(values: np.ndarray, axis: int, block: int) -> np.ndarray:
    """Zeros behind every `block` of an axis: a concatenation of feature maps has several."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, padded_channels(block) - block)
    parts = np.split(values, values.shape[axis] // block, axis)
    return np.concatenate([np.pad(part, widths) for part in parts], axis)
