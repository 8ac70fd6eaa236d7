"""A network that computes in float32 what an int8 .tflite file computes in integers.

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

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from export.graphs.drnet.named_parts import change_weights
from export.graphs.drnet.network import Network
from export.graphs.parts import Dense, Rounding
from export.quantize.calibration import Ranges

#: A range is not empty: what is always zero is held as zero whatever the scale.
_SMALLEST_RANGE = 1e-9


def round_activations(network: Network, model: bytes, ranges: Ranges) -> Network:
    """The network with the inputs and outputs of its convolutions rounded as in the int8 file.

    Args:
        network: as `read_weights` made it.
        model: the float32 .tflite of it.
        ranges: of the tensors of that file, by name.
    """
    tensors: dict[bytes, list[tuple[str, str]]] = {}
    for kernel, source, result in _convolutions(model):
        tensors.setdefault(kernel, []).append((source, result))
    results = {result for pairs in tensors.values() for _, result in pairs}

    def span(names: set[str]) -> tuple[float, float]:
        low = min([0.0, *(float(ranges[name]["min"].min()) for name in names)])
        high = max([0.0, *(float(ranges[name]["max"].max()) for name in names)])
        return low, max(high, low + _SMALLEST_RANGE)

    def rounding(kernel: np.ndarray) -> Rounding:
        # Kernels that are equal to the bit, such as of zeros only, share what is said of them.
        sources, outputs = (set(names) for names in zip(*tensors[kernel.tobytes()], strict=True))
        # What another convolution gives is rounded already.
        return Rounding(None if sources <= results else span(sources), span(outputs))

    return change_weights(
        network,
        lambda conv: dataclasses.replace(conv, rounding=rounding(conv.kernel)),
        lambda pair: dataclasses.replace(pair, rounding=rounding(pair.depthwise)),
    )


def round_weights(network: Network) -> Network:
    """The network with tensors for weights, rounded as in the int8 file.

    Args:
        network: its weights are arrays, or variables, to which gradients go through the rounding.
    """

    def classifier(dense: Dense) -> Dense:
        return dataclasses.replace(dense, kernel=round_channels(dense.kernel))

    changed = change_weights(
        network,
        lambda conv: dataclasses.replace(conv, kernel=round_channels(conv.kernel)),
        # The channels of a depthwise kernel are not on its last axis.
        lambda pair: dataclasses.replace(
            pair, depthwise=round_channels(pair.depthwise[..., 0])[..., None]
        ),
    )
    return dataclasses.replace(changed, classifier=classifier(network.classifier))


def round_channels(kernel) -> tf.Tensor:
    """Weights [..., channels] as int8 holds them, with one scale for each channel."""
    kernel = tf.convert_to_tensor(kernel)
    largest = tf.reduce_max(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))
    bound = tf.stop_gradient(tf.maximum(largest, _SMALLEST_RANGE))
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -bound, bound, narrow_range=True
    )


def _convolutions(model: bytes) -> Iterator[tuple[bytes, str, str]]:
    """Of each convolution in a .tflite the kernel, as in `Network`, and its input and output."""
    root = schema.Model.GetRootAs(model, 0)
    for i in range(root.SubgraphsLength()):
        subgraph = root.Subgraphs(i)
        for j in range(subgraph.OperatorsLength()):
            operator = subgraph.Operators(j)
            code = root.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
            if code == schema.BuiltinOperator.CONV_2D:
                order = (1, 2, 3, 0)  # of [outputs, height, width, inputs]
            elif code == schema.BuiltinOperator.DEPTHWISE_CONV_2D:
                order = (1, 2, 3, 0)  # of [1, height, width, channels]
            else:
                continue
            weights = subgraph.Tensors(operator.Inputs(1))
            data = root.Buffers(weights.Buffer()).DataAsNumpy().view(np.float32)
            kernel = data.reshape(weights.ShapeAsNumpy()).transpose(order)
            source, result = (
                subgraph.Tensors(index).Name().decode()
                for index in (operator.Inputs(0), operator.Outputs(0))
            )
            yield kernel.tobytes(), source, result
