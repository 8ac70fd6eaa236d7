"""RouterNet: the lightweight network that weighs the branches of a cell (Sec. 3.2)."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.convolution import depthwise_conv, pointwise_conv
from drnet_tf.layers.cost import Cost
from drnet_tf.layers.geometry import half

BLOCKS = 2
KERNEL_SIZE = 5


@keras.saving.register_keras_serializable(package="drnet_tf")
class RouterNet(keras.layers.Layer):
    """Weighs each branch of a cell by both of its preprocessed inputs.

    Two blocks of ReLU, depthwise 5x5 with stride 2, pointwise and batch normalization, then
    global average pooling and a dense layer.

    Args:
        connections: of the cell.
        branches: of each connection.

    Call arguments:
        x: float [batch, height, width, 2 * channels].

    Returns:
        float32 [batch, connections, branches], any real numbers.
    """

    def __init__(self, connections: int, branches: int, **kwargs):
        super().__init__(**kwargs)
        self.connections = connections
        self.branches = branches

    def build(self, input_shape):
        channels, policy = input_shape[-1], self.dtype_policy
        self.depthwise, self.pointwise, self.norm = [], [], []
        for i in range(BLOCKS):
            self.depthwise.append(
                depthwise_conv(KERNEL_SIZE, 2, name=f"depthwise_{i}", dtype=policy)
            )
            self.pointwise.append(pointwise_conv(channels, name=f"pointwise_{i}", dtype=policy))
            self.norm.append(BatchNorm(name=f"norm_{i}", dtype=policy))
            self.depthwise[i].build(input_shape)
            input_shape = self.depthwise[i].compute_output_shape(input_shape)
            self.pointwise[i].build(input_shape)
            self.norm[i].build(input_shape)
        # In float32 under mixed precision: the selection compares sums of these weights.
        self.dense = keras.layers.Dense(
            self.connections * self.branches, name="dense", dtype="float32"
        )
        self.dense.build((None, channels))

    def call(self, x, training=False):
        for depthwise, pointwise, norm in zip(
            self.depthwise, self.pointwise, self.norm, strict=True
        ):
            x = norm(pointwise(depthwise(ops.relu(x))), training=training)
        x = ops.mean(ops.cast(x, "float32"), axis=(1, 2))
        return ops.reshape(self.dense(x), (-1, self.connections, self.branches))

    def get_config(self):
        return {**super().get_config(), "connections": self.connections, "branches": self.branches}


def cost(channels: int, size: int, connections: int, branches: int) -> Cost:
    """Counts a RouterNet that reads `channels` channels of height `size`."""
    outputs = connections * branches
    total = Cost(channels * outputs + outputs, channels * outputs)
    for _ in range(BLOCKS):
        size = half(size)
        weights = KERNEL_SIZE**2 * channels + channels**2
        total += Cost(weights + 2 * channels, (weights + channels) * size**2)
    return total
