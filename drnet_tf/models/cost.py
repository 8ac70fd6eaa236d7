"""The costs of a network by its units, and E[R] of Eq. 8."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import ops

from drnet_tf.layers.cost import Cost


@dataclasses.dataclass(frozen=True)
class CostTable:
    """Holds the costs of a network, where those of its units add up.

    A family whose costs do not add up overrides `of_selection`.

    Args:
        fixed: cost of what always runs.
        unit_params, unit_macs: int64 [*units], of what an image can skip; of shape () and zero
            where nothing routes.
    """

    fixed: Cost
    unit_params: np.ndarray
    unit_macs: np.ndarray

    @property
    def units(self) -> tuple[int, ...]:
        """Returns the shape of what an image can skip."""
        return self.unit_macs.shape

    @property
    def total(self) -> Cost:
        """Returns the cost with all units."""
        return self.fixed + Cost(int(self.unit_params.sum()), int(self.unit_macs.sum()))

    def of_selection(self, selected: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns parameters and MACs, [...] each, of masks [..., *units]."""
        selected = np.asarray(selected, bool)
        axes = tuple(range(-len(self.units), 0))
        params = (selected * self.unit_params).sum(axis=axes) + self.fixed.params
        macs = (selected * self.unit_macs).sum(axis=axes) + self.fixed.macs
        return params, macs


def expected_resource(weights, unit_resource, fixed_resource: float):
    """Computes E[R] of Eq. 8: the resource of each unit weighted by its recalibrated weight.

    Args:
        weights: float [batch, *units].
        unit_resource: [*units], in the unit of resource in which the result is, float [batch].
        fixed_resource: of what always runs, in that unit.
    """
    resource = ops.convert_to_tensor(np.asarray(unit_resource, "float32"))
    axes = tuple(range(1, 1 + len(resource.shape)))
    return ops.sum(weights * resource, axis=axes) + float(fixed_resource)
