"""Which units a graph holds, and which of them it can skip."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Says how a graph runs its units.

    Args:
        gated: bool [*units], those that sit in an IF of their own and are skipped where the image
            does not select them; None for none. The others always run. In a DRNet, a pool that
            always runs is shared by the connections that read one node; in an IF it cannot be.
        held: bool [*units], those that the graph holds; None for all.
        fixed: whether all images take all of these, whatever the threshold, which the graph then
            does not know. In a DRNet, their weights are the router's, divided by their sum.
    """

    gated: np.ndarray | None = None
    held: np.ndarray | None = None
    fixed: bool = False

    @property
    def any_gated(self) -> bool:
        """Tells whether the graph can skip anything. It then takes one image at a time."""
        return self.gated is not None and bool(self.gated.any())

    def skips(self, *unit: int) -> bool:
        """Tells whether the unit of these indices sits in an IF."""
        return self.gated is not None and bool(self.gated[unit])

    def holds(self, *unit: int) -> bool:
        """Tells whether the graph has the unit of these indices."""
        return self.held is None or bool(self.held[unit])

    def kept(self, index: int) -> np.ndarray | None:
        """Returns what all images take of `units[index]`, bool; None where they choose."""
        return self.held[index] if self.fixed and self.held is not None else None


#: Runs every unit and gives those that are not selected a weight of zero.
DENSE = Plan()


def routed(gateable: np.ndarray) -> Plan:
    """Plans an IF for every unit that is worth one, bool [*units], as `RoutedGraph` has them."""
    return Plan(gated=gateable)


def only(selected: np.ndarray) -> Plan:
    """Plans a graph of the units of one image, without any IF: what routing can reach at best.

    Args:
        selected: bool [*units], what the image selects.
    """
    return Plan(held=np.asarray(selected, bool))


def fixed(kept: np.ndarray) -> Plan:
    """Plans a graph without any IF that runs the same units for every image.

    Args:
        kept: bool [*units]; of a DRNet at least one branch of each connection.
    """
    return Plan(held=np.asarray(kept, bool), fixed=True)
