"""What a DRNet costs: parameters and multiply-accumulates of every branch and of the fixed part.

"FLOPs" in the paper are multiply-accumulates (MACs). Counted: convolutions and dense layers,
batch normalization at 1 an element, pooling at 9 an element, and the weighting of a branch at 1 an
element. The fixed part is what runs whatever the routing: stem, preprocessing, RouterNets,
weighting, classifier. The auxiliary head, which inference does not have, is not counted.
"""

from __future__ import annotations

import numpy as np

from drnet_tf.layers import heads, preprocess, router_net, stem
from drnet_tf.layers.branches import find_branch
from drnet_tf.layers.cost import Cost
from drnet_tf.models.cost import CostTable
from drnet_tf.models.drnet.architecture import DRNetConfig, output_channels


def cost_table(config: DRNetConfig) -> CostTable:
    """Counts the network that a configuration describes, from its shapes alone."""
    shape = (config.cells, config.connections, len(config.branches))
    params, macs = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    fixed = stem.cost(config.stem, config.channels, config.image_size)
    fixed += heads.classifier_cost(output_channels(config), config.classes)
    for cell, geometry in enumerate(config.cell_geometry):
        for i, factorized in enumerate((geometry.factorized, False)):
            fixed += preprocess.cost(
                geometry.input_channels[i], geometry.channels, geometry.input_sizes[i], factorized
            )
        if config.router == "routernet":
            fixed += router_net.cost(
                2 * geometry.channels, geometry.size, config.connections, len(config.branches)
            )
            elements = geometry.channels * geometry.output_size**2
            fixed += Cost(0, config.connections * len(config.branches) * elements)
        for connection, source in enumerate(config.sources):
            stride = geometry.stride(source)
            size = geometry.height(source)
            for branch, name in enumerate(config.branches):
                cost = find_branch(name).cost(geometry.channels, stride, size)
                params[cell, connection, branch] = cost.params
                macs[cell, connection, branch] = cost.macs
    return CostTable(fixed, params, macs)
