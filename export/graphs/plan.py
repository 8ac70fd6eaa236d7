"""Which branches a graph holds, and which of them it can skip."""

from __future__ import annotations

import dataclasses

import numpy as np

from drnet_tf.layers.branches import find_branch, is_parameter_free
from drnet_tf.models.drnet.architecture import DRNetConfig


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """How a graph runs the branches of its connections.

    Args:
        gates: bool [cells, connections, branches], the branches that sit in an IF of their own and
            are skipped where the image does not select them; None for none. The others always run.
            A pool that always runs is shared by the connections that read one node; in an IF it
            cannot be.
        branches: bool [cells, connections, branches], the branches that the graph holds; None
            for all.
        fixed: whether all images take all these branches, whatever the threshold, which the graph
            then does not know. Their weights are the router's, divided by their sum.
    """

    gates: np.ndarray | None = None
    branches: np.ndarray | None = None
    fixed: bool = False

    @property
    def gated(self) -> bool:
        """Whether it can skip anything. It then takes one image at a time."""
        return self.gates is not None and bool(self.gates.any())

    def skips(self, cell: int, connection: int, branch: int) -> bool:
        return self.gates is not None and bool(self.gates[cell, connection, branch])

    def holds(self, cell: int, connection: int, branch: int) -> bool:
        return self.branches is None or bool(self.branches[cell, connection, branch])

    def kept(self, cell: int) -> np.ndarray | None:
        """bool [connections, branches], what all images take; None where they choose."""
        return self.branches[cell] if self.fixed and self.branches is not None else None


#: Runs every branch and gives those that are not selected a weight of zero.
DENSE = Structure()


def routed(config: DRNetConfig) -> Structure:
    """Skips branches that have parameters where the image does not select them.

    Pools and skips always run: most of them cost less than their IF would.
    `export.structure_choice` measures which do not.
    """
    parametric = [not is_parameter_free(find_branch(name)) for name in config.branches]
    return Structure(gates=np.tile(parametric, (config.cells, config.connections, 1)))


def static(selected: np.ndarray) -> Structure:
    """A graph of these branches only, without any IF: the lower bound of what routing can reach.

    Args:
        selected: bool [cells, connections, branches], what one image selects.
    """
    return Structure(branches=np.asarray(selected, bool))


def fixed(kept: np.ndarray) -> Structure:
    """A graph without any IF that runs the same branches for every image.

    Args:
        kept: bool [cells, connections, branches], at least one of each connection.
    """
    return Structure(branches=np.asarray(kept, bool), fixed=True)


def gated_branches(config: DRNetConfig, structure: Structure) -> tuple[str, ...]:
    """Names of the branches that it can skip somewhere."""
    if structure.gates is None:
        return ()
    somewhere = np.asarray(structure.gates.any(axis=(0, 1))).tolist()
    return tuple(name for name, gated in zip(config.branches, somewhere, strict=True) if gated)
