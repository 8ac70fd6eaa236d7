"""What a DRNet costs: parameters and multiply-accumulates of every branch and of the fixed part.

"FLOPs" in the paper are multiply-accumulates (MACs). Counted: convolutions and dense layers,
batch normalization at 1 an element, pooling at 9 an element, and the weighting of a branch at 1 an
element. The fixed part is what runs whatever the routing: stem, preprocessing, RouterNets,
weighting, classifier. The auxiliary head, which inference does not have, is not counted.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from drnet_tf.architecture import DRNetConfig, output_channels
from drnet_tf.layers import heads, preprocess, router_net, stem
from drnet_tf.layers.branches import Cost, find_branch


@dataclasses.dataclass(frozen=True)
class CostTable:
    """Costs of a network.

    Args:
        fixed: cost of what always runs.
        branch_params, branch_macs: int64 [cells, connections, branches].
    """

    fixed: Cost
    branch_params: np.ndarray
    branch_macs: np.ndarray

    @property
    def total(self) -> Cost:
        """Cost with all branches."""
        return self.fixed + Cost(int(self.branch_params.sum()), int(self.branch_macs.sum()))

    def of_selection(self, selected) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and MACs, [...] each, of masks [..., cells, connections, branches]."""
        selected = np.asarray(selected, bool)
        axes = (-3, -2, -1)
        params = (selected * self.branch_params).sum(axis=axes) + self.fixed.params
        macs = (selected * self.branch_macs).sum(axis=axes) + self.fixed.macs
        return params, macs


def cost_table(config: DRNetConfig) -> CostTable:
    """The costs of the network that a configuration describes, from its shapes alone."""
    shape = (config.cells, config.connections, len(config.branches))
    params, macs = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    fixed = stem.cost(config.stem, config.channels, config.image_size)
    fixed += heads.classifier_cost(output_channels(config), config.classes)
    sources = [source for pair in config.node_inputs for source in pair]
    for cell, geometry in enumerate(config.cell_geometry):
        for i, factorized in enumerate((geometry.factorized, False)):
            fixed += preprocess.cost(
                geometry.input_channels[i],
                geometry.channels,
                geometry.input_sizes[i],
                factorized,
            )
        if config.router == "routernet":
            fixed += router_net.cost(
                2 * geometry.channels,
                geometry.size,
                config.connections,
                len(config.branches),
            )
            elements = geometry.channels * geometry.output_size**2
            fixed += Cost(0, config.connections * len(config.branches) * elements)
        for connection, source in enumerate(sources):
            stride = geometry.stride(source)
            # Strided connections read the cell's inputs, the others nodes of the output's size.
            size = geometry.size if source < 2 else geometry.output_size
            for branch, name in enumerate(config.branches):
                cost = find_branch(name).cost(geometry.channels, stride, size)
                params[cell, connection, branch] = cost.params
                macs[cell, connection, branch] = cost.macs
    return CostTable(fixed, params, macs)


def expected_resource(weights, branch_resource, fixed_resource: float):
    """E[R] of Eq. 8: the resource of each branch weighted by its recalibrated weight.

    Args:
        weights: float [batch, cells, connections, branches].
        branch_resource: [cells, connections, branches], in any unit of resource.
        fixed_resource: of what always runs, in the same unit.

    Returns:
        float [batch], in that unit.
    """
    resource = ops.convert_to_tensor(np.asarray(branch_resource, "float32"))
    return ops.sum(weights * resource, axis=(1, 2, 3)) + float(fixed_resource)
