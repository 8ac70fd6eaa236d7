"""Makes a graph that computes in float32 what an int8 .tflite file computes in integers.

The file holds a value x as the int8 q, which stands for s (q - z):

    activations  q = round(x / s) + z in -128..127, s = (high - low) / 255, z = -128 - low / s,
                 of one range low <= 0 <= high for each tensor
    weights      q = round(w / s) in -127..127, s = max |w| / 127, z = 0, of each output channel

and its convolutions sum products of such integers exactly, with a bias of 32 bits. In float32 the
same comes of rounding to the values that q can stand for: "fake quantization", Jacob et al.
(arXiv:1712.05877), Sec. 3. Its gradient takes the rounding for the identity, and is zero where
a value is clipped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import tensorflow as tf

from export.graphs.graph import RoutedGraph
from export.graphs.in_float import is_in_float
from export.graphs.parts import Dense, Depthwise, Part, Rounding
from export.quantize.calibration import Ranges
from export.quantize.int8 import CONVOLUTIONS
from export.tflite.operators import operator_names, read_model

Graph = TypeVar("Graph", bound=RoutedGraph)
#: A range is not empty: what is always zero is held as zero whatever the scale.
_SMALLEST_RANGE = 1e-9


def round_activations(graph: Graph, model: bytes, ranges: Ranges) -> Graph:
    """Returns the graph with inputs and outputs of convolutions rounded as in the int8 file.

    Args:
        graph: as it was converted.
        model: the float32 .tflite of it.
        ranges: of the tensors of that file, by name.
    """
    # Names of parts would lengthen every exported file: in it, parts are known by their weights.
    tensors: dict[bytes, list[tuple[str, str]]] = {}
    for kernel, source, result in _convolutions(model):
        tensors.setdefault(kernel, []).append((source, result))
    results = {result for pairs in tensors.values() for _, result in pairs}

    def span(names: set[str]) -> tuple[float, float]:
        low = min([0.0, *(float(ranges[name]["min"].min()) for name in names)])
        high = max([0.0, *(float(ranges[name]["max"].max()) for name in names)])
        return low, max(high, low + _SMALLEST_RANGE)

    def change(name: str, part: Part) -> Part:
        if is_in_float(name) or isinstance(part, Dense):
            return part
        # Kernels that are equal to the bit, such as of zeros only, share what is said of them.
        pairs = tensors[part.kernel.tobytes()]
        sources, outputs = (set(names) for names in zip(*pairs, strict=True))
        # What another convolution gives is rounded already.
        rounding = Rounding(None if sources <= results else span(sources), span(outputs))
        return dataclasses.replace(part, rounding=rounding)

    return graph.map(change)


def round_weights(graph: Graph) -> Graph:
    """Returns the graph with tensors for weights, rounded as in the int8 file.

    Args:
        graph: its weights are arrays, or variables, to which gradients go through the rounding.
    """

    def change(name: str, part: Part) -> Part:
        if is_in_float(name):
            return part
        if isinstance(part, Depthwise):  # its channels are not on the last axis
            kernel = round_channels(part.kernel[..., 0])[..., None]
        else:
            kernel = round_channels(part.kernel)
        return dataclasses.replace(part, kernel=kernel)

    return graph.map(change)


def round_channels(kernel) -> tf.Tensor:
    """Rounds weights [..., channels] as int8 holds them, with one scale for each channel."""
    kernel = tf.convert_to_tensor(kernel)
    largest = tf.reduce_max(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))
    bound = tf.stop_gradient(tf.maximum(largest, _SMALLEST_RANGE))
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -bound, bound, narrow_range=True
    )


def _convolutions(model: bytes) -> Iterator[tuple[bytes, str, str]]:
    """Reads of each convolution in a .tflite the kernel, as in a `Part`, its input and output."""
    root = read_model(model)
    for subgraph in root.subgraphs:
        names = operator_names(root, subgraph)
        for name, operator in zip(names, subgraph.operators, strict=True):
            if name not in CONVOLUTIONS:
                continue
            source, weights, result = (
                subgraph.tensors[index] for index in (*operator.inputs[:2], operator.outputs[0])
            )
            # [outputs, height, width, inputs], of a depthwise one [1, height, width, channels].
            data = root.buffers[weights.buffer].data.view(np.float32).reshape(weights.shape)
            kernel = data.transpose(1, 2, 3, 0)
            yield kernel.tobytes(), source.name.decode(), result.name.decode()
