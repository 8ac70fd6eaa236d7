"""Which branches a graph holds, and which of them it can skip."""

from __future__ import annotations

import dataclasses

import numpy as np

from drnet_tf.architecture import DRNetConfig
from drnet_tf.layers.branches import find_branch, is_parameter_free


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """How a graph runs the branches of its connections.

    Args:
        gated: whether each branch that has parameters sits in an IF of its own and is skipped where
            the image does not select it. Pools and skips always run: they cost less than their
            IF would, and two connections that read one node share them.
        branches: bool [cells, connections, branches], the branches that the graph holds; None
            for all.
        fixed: whether all images take all these branches, whatever the threshold, which the graph
            then does not know. Their weights are the router's, divided by their sum.
    """

    gated: bool
    branches: np.ndarray | None = None
    fixed: bool = False

    def holds(self, cell: int, connection: int, branch: int) -> bool:
        return self.branches is None or bool(self.branches[cell, connection, branch])

    def kept(self, cell: int) -> np.ndarray | None:
        """bool [connections, branches], what all images take; None where they choose."""
        return self.branches[cell] if self.fixed and self.branches is not None else None


#: Skips what an image does not select. For one image at a time.
ROUTED = Structure(gated=True)
#: Runs every branch and gives those that are not selected a weight of zero.
DENSE = Structure(gated=False)


def static(selected: np.ndarray) -> Structure:
    """A graph of these branches only, without any IF: the lower bound of what routing can reach.

    Args:
        selected: bool [cells, connections, branches], what one image selects.
    """
    return Structure(gated=False, branches=np.asarray(selected, bool))


def fixed(kept: np.ndarray) -> Structure:
    """A graph without any IF that runs the same branches for every image.

    Args:
        kept: bool [cells, connections, branches], at least one of each connection.
    """
    return Structure(gated=False, branches=np.asarray(kept, bool), fixed=True)


def gated_branches(config: DRNetConfig) -> tuple[str, ...]:
    """Names of the branches that `ROUTED` can skip."""
    return tuple(name for name in config.branches if not is_parameter_free(find_branch(name)))
