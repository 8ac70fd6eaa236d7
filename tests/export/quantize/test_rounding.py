"""Fake quantization in float32 against the integers of the format, and against the file."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.graphs import layers as folded_layers
from export.graphs.graph import graph_of
from export.graphs.parts import Conv, Dense, Depthwise, Rounding
from export.quantize.calibration import tensor_ranges
from export.quantize.int8 import quantize_int8
from export.quantize.rounding import round_activations, round_channels, round_weights
from export.tflite.runner import TFLiteRunner
from tests.export.routed_model import CONFIG


@pytest.fixture(scope="module")
def graph(exported):
    return graph_of(exported.trained.model)


@pytest.fixture(scope="module")
def model(exported):
    return (exported.folder / "model.tflite").read_bytes()


@pytest.fixture(scope="module")
def ranges(model, images):
    return tensor_ranges(model, images, (1.0, 0.8, 0.5))


def test_convolution_equals_one_in_integers():
    generator = np.random.default_rng(0)
    x = generator.normal(0.3, 1, (2, 5, 5, 6)).astype(np.float32)
    kernel = generator.normal(size=(1, 1, 6, 4)).astype(np.float32)
    bias = generator.normal(size=4).astype(np.float32)
    # Narrower than the values, so that some are clipped.
    (low, high), (low_out, high_out) = spans = (-1.0, 2.0), (-3.0, 2.5)
    actual = folded_layers.conv(x, Conv(round_channels(kernel), bias, Rounding(*spans)))

    scale, scale_out = (high - low) / 255, (high_out - low_out) / 255
    zero, zero_out = round(-128 - low / scale), round(-128 - low_out / scale_out)
    q = np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int64)
    scales = np.abs(kernel).max(axis=(0, 1, 2)) / 127
    weights = np.rint(kernel / scales).astype(np.int64)
    assert np.abs(weights).max() == 127
    sums = (q - zero) @ weights[0, 0] + np.rint(bias / (scale * scales)).astype(np.int64)
    result = np.clip(np.rint(sums * scale * scales / scale_out) + zero_out, -128, 127)
    steps = actual / scale_out + zero_out
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    differing = np.rint(steps) != result
    # The bias has 32 bits in one and is float32 in the other: a sum halfway may go either way.
    assert differing.mean() < 0.02 and np.abs(np.rint(steps) - result).max() <= 1
    assert {-128, 127} <= set(result.ravel())


def test_gradient_passes_rounding_and_stops_where_a_value_is_clipped():
    x = tf.constant([[[[-2.0, -0.5, 0.7, 3.0]]]])
    identity = Conv(np.eye(4, dtype=np.float32)[None, None], np.zeros(4, np.float32))
    clipped = dataclasses.replace(identity, rounding=Rounding(input=(-1.0, 2.0)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = folded_layers.conv(x, clipped)
    np.testing.assert_array_equal(tape.gradient(y, x)[0, 0, 0], [0, 1, 1, 0])
    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 2, 5)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        y = round_channels(kernel)
    np.testing.assert_array_equal(tape.gradient(y, kernel), np.ones(kernel.shape))


def test_every_convolution_outside_of_routers_is_rounded(graph, model, ranges):
    rounded = round_weights(round_activations(graph, model, ranges))
    spans, steps = [], []

    def read(name, part):
        if "router" in name or isinstance(part, Dense):
            return part
        if isinstance(part, Depthwise):
            spans.extend([part.rounding.input, part.rounding.output])
            largest = np.abs(part.kernel).max(axis=(0, 1, 3), keepdims=True)
        else:
            spans.append(part.rounding.output)
            largest = np.abs(part.kernel).max(axis=(0, 1, 2))
            assert "connection" not in name or part.rounding.input is None
        steps.append(part.kernel / largest * 127)
        return part

    rounded.map(read)
    separable = CONFIG.cells * CONFIG.connections * 2 * 2
    assert (
        len(steps)
        == sum(map(len, [rounded.stem, *(p for c in rounded.cells for p in c.preprocess)]))
        + 2 * separable
    )
    for kernel in steps:
        np.testing.assert_allclose(kernel, np.rint(kernel), atol=1e-3)
    # The second of two applications reads what the first has rounded.
    assert spans.count(None) == separable // 2
    assert all(low <= 0 < high for low, high in filter(None, spans))
    for cell, before in zip(rounded.cells, graph.cells, strict=True):
        assert cell.router.dense is before.router.dense
        for block, old in zip(cell.router.blocks, before.router.blocks, strict=True):
            assert block.depthwise is old.depthwise and block.pointwise is old.pointwise


def test_each_convolution_of_the_int8_file_gives_what_the_rounded_network_does(
    graph, model, ranges, images
):
    """Not the logits: one value that is rounded otherwise changes others, and they differ soon."""
    rounded = round_weights(round_activations(graph, model, ranges))
    by_kernel = {}

    def read(name, part):
        if "router" not in name and not isinstance(part, Dense):
            depthwise = isinstance(part, Depthwise)
            compute = folded_layers.depthwise if depthwise else folded_layers.conv
            by_kernel[part.kernel.numpy().tobytes()] = lambda x, stride: compute(x, part, stride)
        return part

    rounded.map(read)
    content = quantize_int8(model, ranges)
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    TFLiteRunner(interpreter).run(images[0], 1.0)
    compared, values, differing = 0, 0, 0
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    for number, subgraph in enumerate(file.subgraphs):
        for operator in subgraph.operators:
            if getattr(operator.builtinOptions, "strideH", None) is None or (
                len(operator.inputs) < 2
            ):
                continue
            kernel = subgraph.tensors[operator.inputs[1]]
            if kernel.type != schema.TensorType.INT8:
                continue

            def real(index, number=number, subgraph=subgraph):
                q = subgraph.tensors[index].quantization
                value = interpreter.get_tensor(index, number).astype(np.float32)
                return np.float32((value - q.zeroPoint[0]) * q.scale[0]), q.scale[0]

            data = file.buffers[kernel.buffer].data.view(np.int8).reshape(kernel.shape)
            axis = kernel.quantization.quantizedDimension
            scale = kernel.quantization.scale.reshape([-1 if i == axis else 1 for i in range(4)])
            weights = (data * scale).astype(np.float32).transpose(1, 2, 3, 0)
            key = min(by_kernel, key=lambda k: _distance(k, weights))
            assert _distance(key, weights) < 1e-5
            expected, step = real(operator.outputs[0])
            actual = by_kernel[key](real(operator.inputs[0])[0], operator.builtinOptions.strideH)
            if operator.builtinOptions.fusedActivationFunction:
                actual = tf.nn.relu(actual)
            steps = np.abs(actual - expected) / step
            assert steps.max() < 1.01, subgraph.tensors[operator.outputs[0]].name
            compared, values = compared + 1, values + steps.size
            differing += (steps > 0.5).sum()
    assert compared == len(by_kernel)
    assert differing < 0.01 * values


def _distance(kernel, weights):
    values = np.frombuffer(kernel, np.float32)
    return np.abs(values - weights.ravel()).max() if values.size == weights.size else np.inf
