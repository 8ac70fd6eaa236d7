"""Pads a network with channels of zeros that fill the vector lanes of a processor.

DRNet(S) has 15, 30 and 60 channels. A kernel that computes 16 floats at a time (8 or 4 on other
processors) then works with masks and on rows that straddle cache lines. 16, 32 and 64 channels give
the same logits, since the new channels are zero through convolutions without their bias, ReLU,
pools and sums, and nothing reads them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from export.graphs.drnet.network import Cell, Network
from export.graphs.parts import Conv, Dense, Depthwise, Part

#: Floats that vector units take at a time: AVX-512, AVX2, NEON.
LANES = (16, 8, 4)
#: How many more channels are worth it: 1/15, what DRNet(S) takes.
MOST_PADDING = 1 / 15


def padded_channels(channels: int) -> int:
    """Returns the next multiple of 16, else of 8 or 4, that is at most `MOST_PADDING` away."""
    for lanes in LANES:
        padded = -(-channels // lanes) * lanes
        if padded - channels <= MOST_PADDING * channels:
            return padded
    return channels


def fill_vector_lanes(graph: Any) -> Any:
    """Returns the same function in padded channels.

    A graph of another family comes back as it is, and one with branches that are Keras layers of
    one's own: what they would make of further channels is not known.
    """
    if not isinstance(graph, Network) or any(cell.layers for cell in graph.cells):
        return graph
    stem: list[Conv] = []
    inputs = None  # the image is not padded
    for conv in graph.stem:
        outputs = conv.bias.shape[0]
        stem.append(_pad_part(conv, inputs, outputs))
        inputs = outputs
    # Of the two feature maps that each cell reads, the channels that every part of it has.
    before, previous = graph.stem[-2:] if len(graph.stem) > 1 else graph.stem * 2
    blocks = [before.bias.shape[0], previous.bias.shape[0]]
    cells = []
    for cell in graph.cells:
        cells.append(_pad_cell(cell, blocks[-2:]))
        blocks.append(cell.geometry.channels)
    classifier = _pad_part(graph.classifier, blocks[-1], None)
    return dataclasses.replace(graph, stem=tuple(stem), cells=tuple(cells), classifier=classifier)


def _pad_cell(cell: Cell, inputs: list[int]) -> Cell:
    channels = cell.geometry.channels
    first, second = (
        _pad_preprocess(parts, block, channels)
        for parts, block in zip(cell.preprocess, inputs, strict=True)
    )

    def pad(name: str, part: Part) -> Part:
        return _pad_part(part, channels, None if isinstance(part, Dense) else channels)

    # Without its inputs, whose channels are others.
    inner = dataclasses.replace(cell, preprocess=((), ())).map("", pad)
    geometry = dataclasses.replace(cell.geometry, channels=padded_channels(channels))
    return dataclasses.replace(inner, geometry=geometry, preprocess=(first, second))


def _pad_preprocess(parts: tuple[Conv, ...], inputs: int, channels: int) -> tuple[Conv, ...]:
    # The outputs of the parts are concatenated: new channels come behind those of the last.
    more = padded_channels(channels) - channels
    *others, last = (_pad_part(part, inputs, None) for part in parts)
    kernel = np.pad(last.kernel, [(0, 0)] * 3 + [(0, more)])
    return (*others, Conv(kernel, np.pad(last.bias, (0, more))))


def _pad_part(part: Any, inputs: int | None, outputs: int | None) -> Any:
    """Pads the inputs and the outputs of a part in blocks of so many channels; None for neither."""
    kernel = part.kernel if inputs is None else _pad(part.kernel, -2, inputs)
    if outputs is None or isinstance(part, Depthwise):
        return dataclasses.replace(part, kernel=kernel)
    return dataclasses.replace(
        part, kernel=_pad(kernel, -1, outputs), bias=_pad(part.bias, 0, outputs)
    )


def _pad(values: np.ndarray, axis: int, block: int) -> np.ndarray:
    """Adds zeros behind every `block` of an axis: a concatenation of feature maps has several."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, padded_channels(block) - block)
    parts = np.split(values, values.shape[axis] // block, axis)
    return np.concatenate([np.pad(part, widths) for part in parts], axis)
