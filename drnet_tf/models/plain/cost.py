"""What a MobileNetV2 costs, counted as a DRNet is.

Counted: convolutions and the dense layer, batch normalization at 1 an element. Not counted: sums,
ReLU6 and the average of the last feature map.
"""

from __future__ import annotations

import numpy as np

from drnet_tf.layers import heads
from drnet_tf.layers.cost import Cost
from drnet_tf.layers.geometry import half
from drnet_tf.layers.stem import IMAGE_CHANNELS
from drnet_tf.models.cost import CostTable
from drnet_tf.models.plain.architecture import CONVOLUTION, KERNEL_SIZE, Block, MobileNetV2Config


def cost_table(config: MobileNetV2Config) -> CostTable:
    """Counts the network of a configuration from its shapes alone; all of it is fixed."""
    last = config.blocks[-1]
    size = config.image_size if config.stem_stride == 1 else half(config.image_size)
    stem_weights = KERNEL_SIZE**2 * IMAGE_CHANNELS * config.stem_channels
    fixed = _normalized(stem_weights, config.stem_channels, size)
    for block in config.blocks:
        fixed += block_cost(block)
    fixed += _pointwise(last.outputs, config.last_channels, last.output_size)
    fixed += heads.classifier_cost(config.last_channels, config.classes)
    return CostTable(fixed, np.zeros((), np.int64), np.zeros((), np.int64))


def block_cost(block: Block) -> Cost:
    """Counts an inverted residual block."""
    size = block.output_size
    cost = _normalized(KERNEL_SIZE**2 * block.expanded, block.expanded, size)
    cost += _pointwise(block.expanded, block.outputs, size)
    if block.expands:
        cost += _pointwise(block.inputs, block.expanded, block.size)
    if block.shortcut == CONVOLUTION:
        cost += _pointwise(block.inputs, block.outputs, size)
    return cost


def _pointwise(inputs: int, outputs: int, size: int) -> Cost:
    return _normalized(inputs * outputs, outputs, size)


def _normalized(weights: int, channels: int, size: int) -> Cost:
    """Counts a convolution, each weight of which acts on every output pixel, and its norm."""
    return Cost(weights + 2 * channels, (weights + channels) * size**2)
