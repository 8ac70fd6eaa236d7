"""A twin of an exported network out of tf_keras layers, which tensorflow-model-optimization wraps.

It computes what the exported graph computes, on the folded weights: what is pruned or clustered in
it is what a .tflite file holds. Of kernels under a normalization that could not be said: the scale
of each output channel keeps zeros, but makes outputs times as many values of few.

tf_keras is imported inside of functions: only the process of twin_process.py may load it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from drnet_tf.layers.branches import Pool, Skip, find_branch
from drnet_tf.layers.geometry import INPUTS_PER_NODE
from drnet_tf.layers.preprocess import odd_pixels
from drnet_tf.layers.routed_connection import weighted_sum
from drnet_tf.layers.selection import select
from drnet_tf.layers.subsampling import subsample
from drnet_tf.training.on_tensorflow.depthwise import depthwise_conv
from export.graphs.drnet.named_parts import (
    DEPTHWISE,
    ROUTER,
    is_compressed,
    map_weights,
    separable_name,
)
from export.graphs.drnet.network import Cell, Network, Router
from export.graphs.parts import Conv, Dense, DepthwisePointwise


def build_twin(network: Network, wrap: Callable[[Any], Any] = lambda layer: layer):
    """A tf_keras model of (image, threshold) to logits.

    Selection is by threshold for each image; gradients reach the selected branches and, through
    their weights, what the router reads. The routers are not trained: what they have learned is a
    balance of accuracy and cost (Eq. 8), and fine-tuning knows of accuracy only.

    Args:
        network: without branches of one's own.
        wrap: called with each layer whose kernel is one to compress, built and with its weights;
            returns the layer to take instead.

    Returns:
        A `tf_keras.Model`. Its inputs are float32 [batch, image_size, image_size, 3] in 0..255 and
        float32 [batch]; its output is float32 [batch, classes]. Layers with weights have the names
        of `map_weights`.
    """
    return _Builder(network, wrap).build()


def read_twin(network: Network, twin) -> Network:
    """The network with the weights of its twin, whose layers are stripped of wrappers."""

    def read(name: str, weights: Any) -> Any:
        arrays = [np.asarray(array, np.float32) for array in twin.get_layer(name).get_weights()]
        # A depthwise kernel has no bias.
        return arrays[0] if isinstance(weights, np.ndarray) else type(weights)(*arrays)

    return map_weights(network, read)


class _Builder:
    def __init__(self, network: Network, wrap: Callable[[Any], Any]):
        import tf_keras

        self.keras = tf_keras
        self.layers = tf_keras.layers
        self.network = network
        self.config = network.config
        self.wrap = wrap

        class Depthwise(tf_keras.layers.DepthwiseConv2D):
            """The same with gradients that are fast on a CPU."""

            def call(self, x):
                return depthwise_conv(x, self.depthwise_kernel, self.strides[0])

        self.depthwise = Depthwise

    def build(self):
        size = self.config.image_size
        image = self.keras.Input((size, size, 3), name="image")
        threshold = self.keras.Input((), name="threshold")
        mean = np.asarray(self.config.mean, np.float32)
        scale = (1 / np.asarray(self.config.deviation, np.float64)).astype(np.float32)
        before, previous = self._stem(self._apply(lambda x: (x - mean) * scale, image))
        for index, cell in enumerate(self.network.cells):
            output = self._cell(f"cell_{index}", cell, (before, previous), threshold)
            before, previous = previous, output
        pooled = self._apply(lambda x: tf.reduce_mean(x, [1, 2]), previous)
        logits = self._dense(pooled, "classifier", self.network.classifier)
        return self.keras.Model([image, threshold], logits)

    def _stem(self, x):
        convs = self.network.stem
        if len(convs) == 1:
            x = self._conv(x, "stem_0", convs[0])
            return x, x
        x = self._relu(self._conv(x, "stem_0", convs[0], 2))
        quarter = self._conv(x, "stem_1", convs[1], 2)
        return quarter, self._conv(self._relu(quarter), "stem_2", convs[2], 2)

    def _cell(self, name, cell: Cell, inputs, threshold):
        states = [
            self._preprocess(x, f"{name}_input_{i}", parts)
            for i, (x, parts) in enumerate(zip(inputs, cell.preprocess, strict=True))
        ]
        weights = self._route(f"{name}{ROUTER}", cell.router, states, threshold)
        rectified: dict[int, Any] = {}
        for node in range(self.config.nodes):
            outputs, positions = [], []
            for i, source in enumerate(self.config.node_inputs[node]):
                if source not in rectified:
                    rectified[source] = self._relu(states[source])
                connection = node * INPUTS_PER_NODE + i
                for branch, branch_name in enumerate(self.config.branches):
                    key, stride = (connection, branch), cell.geometry.stride(source)
                    positions.append(key)
                    if key in cell.separable:
                        outputs.append(self._separable(rectified[source], name, cell, key, stride))
                    else:
                        one = find_branch(branch_name)
                        assert isinstance(one, Pool | Skip)
                        outputs.append(
                            self._apply(lambda x, b=one, s=stride: b.apply(x, s), states[source])
                        )
            states.append(self._apply(_node(positions), [weights, *outputs]))
        nodes = states[INPUTS_PER_NODE:]
        return self.layers.Concatenate()(nodes) if len(nodes) > 1 else nodes[0]

    def _preprocess(self, x, name, parts):
        x = self._relu(x)
        if len(parts) == 1:
            return self._conv(x, f"{name}_0", parts[0])
        halves = (self._apply(lambda x: subsample(x, 2), x), self._apply(odd_pixels, x))
        return self.layers.Concatenate()(
            [self._conv(h, f"{name}_{i}", parts[i]) for i, h in enumerate(halves)]
        )

    def _separable(self, x, cell_name, cell: Cell, key, stride):
        for i, weights in enumerate(cell.separable[key]):
            x = x if i == 0 else self._relu(x)
            name = separable_name(cell_name, key, i)
            x = self._depthwise_pointwise(x, name, weights, stride if i == 0 else 1)
        return x

    def _route(self, name, router: Router | None, states, threshold):
        shape = (-1, self.config.connections, len(self.config.branches))
        temperature = np.float32(self.network.temperature)
        if router is None:
            uniform = np.full((1, *shape[1:]), 1 / shape[2], np.float32)
            return self._apply(lambda t: select(uniform, t[:, None, None])[1], threshold)
        x = self.layers.Concatenate()(states)
        for i, block in enumerate(router.blocks):
            x = self._depthwise_pointwise(self._relu(x), f"{name}_{i}", block, 2)
        x = self._apply(lambda x: tf.reduce_mean(x, [1, 2]), x)
        logits = self._dense(x, f"{name}_dense", router.dense)

        def used(inputs):
            recalibrated = tf.nn.softmax(tf.reshape(inputs[0], shape) / temperature)
            return select(recalibrated, inputs[1][:, None, None])[1]

        return self._apply(used, [logits, threshold])

    def _depthwise_pointwise(self, x, name, weights: DepthwisePointwise, stride):
        kernel = weights.depthwise
        layer = self.depthwise(
            kernel.shape[0], stride, "same", use_bias=False, name=f"{name}{DEPTHWISE}"
        )
        return self._conv(
            self._with_weights(layer, x, kernel), f"{name}_pointwise", weights.pointwise
        )

    def _conv(self, x, name, weights: Conv, stride=1):
        height, _, _, channels = weights.kernel.shape
        layer = self.layers.Conv2D(channels, height, stride, "same", name=name)
        return self._with_weights(layer, x, weights.kernel, weights.bias)

    def _dense(self, x, name, weights: Dense):
        layer = self.layers.Dense(weights.kernel.shape[-1], name=name)
        return self._with_weights(layer, x, weights.kernel, weights.bias)

    def _with_weights(self, layer, x, *arrays):
        # Before it is wrapped: clusters start from the weights that are there.
        layer.build(x.shape)
        layer.set_weights(arrays)
        layer.trainable = ROUTER not in layer.name
        return (self.wrap(layer) if is_compressed(layer.name) else layer)(x)

    def _relu(self, x):
        return self._apply(tf.nn.relu, x)

    def _apply(self, function, x):
        return self.layers.Lambda(function)(x)


def _node(positions):
    def weigh(inputs):
        weights, *branches = inputs
        return weighted_sum(branches, [weights[:, c, b, None] for c, b in positions])

    return weigh
