"""The costs of a network by its units, and E[R] of Eq. 8."""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from drnet_tf.layers.cost import Cost


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
