"""The block of MobileNetV2: an inverted residual with a linear bottleneck (Sec. 3.3)."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.convolution import depthwise_conv, pointwise_conv
from drnet_tf.models.plain.architecture import CONVOLUTION, KERNEL_SIZE, NONE, Block


@keras.saving.register_keras_serializable(package="drnet_tf")
class InvertedResidual(keras.layers.Layer):
    """Expands the channels, convolves each on its own, and projects to few channels.

    1x1 convolution, ReLU6, 3x3 depthwise convolution, ReLU6, 1x1 convolution without ReLU6, all
    normalized, and the sum with the shortcut where there is one.

    Args:
        block: its shapes, a `Block` or its dictionary.

    Call arguments:
        x: float [batch, size, size, inputs].

    Returns:
        float [batch, output_size, output_size, outputs].
    """

    def __init__(self, block: Block | dict[str, Any], **kwargs):
        super().__init__(**kwargs)
        self.block = block = block if isinstance(block, Block) else Block(**block)
        policy = self.dtype_policy
        if block.expands:
            self.expand = pointwise_conv(block.expanded, name="expand", dtype=policy)
            self.expand_norm = BatchNorm(name="expand_norm", dtype=policy)
        self.depthwise = depthwise_conv(KERNEL_SIZE, block.stride, name="depthwise", dtype=policy)
        self.depthwise_norm = BatchNorm(name="depthwise_norm", dtype=policy)
        self.project = pointwise_conv(block.outputs, name="project", dtype=policy)
        self.project_norm = BatchNorm(name="project_norm", dtype=policy)
        if block.shortcut == CONVOLUTION:
            self.shortcut = pointwise_conv(block.outputs, name="shortcut", dtype=policy)
            self.shortcut_norm = BatchNorm(name="shortcut_norm", dtype=policy)

    def build(self, input_shape=None):
        block = self.block

        def shape(size, channels):
            return (None, size, size, channels)

        read, given = shape(block.size, block.inputs), shape(block.output_size, block.outputs)
        wide = shape(block.output_size, block.expanded)
        if block.expands:
            self.expand.build(read)
            self.expand_norm.build(shape(block.size, block.expanded))
        self.depthwise.build(shape(block.size, block.expanded))
        self.depthwise_norm.build(wide)
        self.project.build(wide)
        self.project_norm.build(given)
        if block.shortcut == CONVOLUTION:
            self.shortcut.build(read)
            self.shortcut_norm.build(given)

    def call(self, x, training=False):
        y = x
        if self.block.expands:
            y = ops.relu6(self.expand_norm(self.expand(y), training=training))
        y = ops.relu6(self.depthwise_norm(self.depthwise(y), training=training))
        y = self.project_norm(self.project(y), training=training)
        if self.block.shortcut == NONE:
            return y
        if self.block.shortcut == CONVOLUTION:
            x = self.shortcut_norm(self.shortcut(x), training=training)
        return x + y

    def get_config(self):
        return {**super().get_config(), "block": dataclasses.asdict(self.block)}
