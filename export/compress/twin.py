"""Makes a twin of a DRNet's graph of tf_keras layers, which tensorflow-model-optimization wraps.

It computes what the exported graph computes, on the folded weights: what is pruned or clustered in
it is what a .tflite file holds. Of kernels under a normalization that could not be said: the scale
of each output channel keeps zeros, but makes outputs times as many values of few.

tf_keras is imported inside of functions: only the process of twin_process.py may load it.
"""

from __future__ import annotations

import dataclasses
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
from export.graphs.drnet.forward import DRNetGraph
from export.graphs.drnet.network import Cell, Router, is_compressed
from export.graphs.in_float import ROUTER
from export.graphs.parts import Conv, Dense, DepthwisePointwise, Part, Separable


def build_twin(network: Any, wrap: Callable[[Any], Any] = lambda layer: layer):
    """Builds a tf_keras model of (image, threshold) to logits.

    Selection is by threshold for each image; gradients reach the selected branches and, through
    their weights, what the router reads. The routers are not trained: what they have learned is a
    balance of accuracy and cost (Eq. 8), and fine-tuning knows of accuracy only.

    Args:
        network: a `DRNetGraph` without branches of one's own.
        wrap: called with each layer whose kernel is one to compress, built and with its weights;
            returns the layer to take instead.

    Returns:
        A `tf_keras.Model`. Its inputs are float32 [batch, image_size, image_size, 3] in 0..255 and
        float32 [batch]; its output is float32 [batch, classes]. Layers with weights have the names
        of the network's parts.
    """
    return _Builder(network, wrap).build()


def read_twin(graph: Any, twin) -> Any:
    """Returns the graph with the weights of its twin, whose layers are stripped of wrappers."""

    def read(name: str, part: Any) -> Any:
        arrays = [np.asarray(array, np.float32) for array in twin.get_layer(name).get_weights()]
        # A depthwise convolution has no bias.
        return dataclasses.replace(part, **dict(zip(("kernel", "bias"), arrays, strict=False)))

    return graph.map(read)


class _Builder:
    def __init__(self, network: DRNetGraph, wrap: Callable[[Any], Any]):
        import tf_keras

        self.keras = tf_keras
        self.layers = tf_keras.layers
        self.network = network
        self.config = network.config
        self.wrap = wrap
        #: The name of each part, by its identity.
        self.names: dict[int, str] = {}
        network.map(self._note_name)

        class Depthwise(tf_keras.layers.DepthwiseConv2D):
            """Convolves the same with gradients that are fast on a CPU."""

            def call(self, x):
                return depthwise_conv(x, self.depthwise_kernel, self.strides[0])

        self.depthwise = Depthwise

    def _note_name(self, name: str, part: Part) -> Part:
        self.names[id(part)] = name
        return part

    def build(self):
        size = self.config.image_size
        image = self.keras.Input((size, size, 3), name="image")
        threshold = self.keras.Input((), name="threshold")
        mean = np.asarray(self.config.mean, np.float32)
        scale = (1 / np.asarray(self.config.deviation, np.float64)).astype(np.float32)
        before, previous = self._stem(self._apply(lambda x: (x - mean) * scale, image))
        for cell in self.network.cells:
            before, previous = previous, self._cell(cell, (before, previous), threshold)
        pooled = self._apply(lambda x: tf.reduce_mean(x, [1, 2]), previous)
        logits = self._dense(pooled, self.network.classifier)
        return self.keras.Model([image, threshold], logits)

    def _stem(self, x):
        *strided, last = self.network.stem
        if not strided:
            x = self._conv(x, last)
            return x, x
        first, second = strided
        quarter = self._conv(self._relu(self._conv(x, first, 2)), second, 2)
        return quarter, self._conv(self._relu(quarter), last, 2)

    def _cell(self, cell: Cell, inputs, threshold):
        states = [
            self._preprocess(x, parts) for x, parts in zip(inputs, cell.preprocess, strict=True)
        ]
        weights = self._route(cell.router, states, threshold)
        rectified: dict[int, Any] = {}
        for node in range(self.config.nodes):
            outputs, positions = [], []
            first = node * INPUTS_PER_NODE
            for connection in range(first, first + INPUTS_PER_NODE):
                source = self.config.sources[connection]
                state, stride = states[source], cell.geometry.stride(source)
                if source not in rectified:
                    rectified[source] = self._relu(state)
                for branch, name in enumerate(self.config.branches):
                    key = (connection, branch)
                    positions.append(key)
                    if key in cell.separable:
                        outputs.append(
                            self._separable(rectified[source], cell.separable[key], stride)
                        )
                    else:
                        one = find_branch(name)
                        assert isinstance(one, Pool | Skip)
                        outputs.append(self._apply(lambda x, b=one, s=stride: b.apply(x, s), state))
            states.append(self._apply(_node(positions), [weights, *outputs]))
        nodes = states[INPUTS_PER_NODE:]
        return self.layers.Concatenate()(nodes) if len(nodes) > 1 else nodes[0]

    def _preprocess(self, x, parts):
        x = self._relu(x)
        if len(parts) == 1:
            return self._conv(x, parts[0])
        halves = (self._apply(lambda x: subsample(x, 2), x), self._apply(odd_pixels, x))
        return self.layers.Concatenate()(
            [self._conv(*pair) for pair in zip(halves, parts, strict=True)]
        )

    def _separable(self, x, weights: Separable, stride):
        x = self._depthwise_pointwise(x, weights[0], stride)
        for application in weights[1:]:
            x = self._depthwise_pointwise(self._relu(x), application, 1)
        return x

    def _route(self, router: Router | None, states, threshold):
        shape = (-1, *self.network.units[1:])
        temperature = np.float32(self.network.temperature)
        if router is None:
            uniform = np.full((1, *shape[1:]), 1 / shape[2], np.float32)
            return self._apply(lambda t: select(uniform, t[:, None, None])[1], threshold)
        x = self.layers.Concatenate()(states)
        for block in router.blocks:
            x = self._depthwise_pointwise(self._relu(x), block, 2)
        x = self._apply(lambda x: tf.reduce_mean(x, [1, 2]), x)
        logits = self._dense(x, router.dense)

        def used(inputs):
            recalibrated = tf.nn.softmax(tf.reshape(inputs[0], shape) / temperature)
            return select(recalibrated, inputs[1][:, None, None])[1]

        return self._apply(used, [logits, threshold])

    def _depthwise_pointwise(self, x, weights: DepthwisePointwise, stride):
        part, size = weights.depthwise, len(weights.depthwise.kernel)
        x = self._layer(self.depthwise, x, part, size, stride, "same", use_bias=False)
        return self._conv(x, weights.pointwise)

    def _conv(self, x, weights: Conv, stride=1):
        height, _, _, channels = weights.kernel.shape
        return self._layer(self.layers.Conv2D, x, weights, channels, height, stride, "same")

    def _dense(self, x, weights: Dense):
        return self._layer(self.layers.Dense, x, weights, weights.kernel.shape[-1])

    def _layer(self, make: Callable[..., Any], x, part: Part, *settings, **options):
        """Applies a layer with the name and the weights of a part."""
        name = self.names[id(part)]
        layer = make(*settings, **options, name=name)
        # Before it is wrapped: clusters start from the weights that are there.
        layer.build(x.shape)
        layer.set_weights([value for value in vars(part).values() if isinstance(value, np.ndarray)])
        layer.trainable = ROUTER not in name
        return (self.wrap(layer) if is_compressed(name, part) else layer)(x)

    def _relu(self, x):
        return self._apply(tf.nn.relu, x)

    def _apply(self, function, x):
        return self.layers.Lambda(function)(x)


def _node(positions):
    def weigh(inputs):
        weights, *branches = inputs
        return weighted_sum(branches, [weights[:, c, b, None] for c, b in positions])

    return weigh
