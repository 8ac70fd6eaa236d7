"""Parts of the objectives that families share."""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from drnet_tf.models.cost import CostTable

#: The last one by a table of measured latencies.
RESOURCES = ("flops", "params", "latency")


@dataclasses.dataclass(frozen=True)
class Resource:
    """What E[R] counts.

    Args:
        branches: [cells, connections, branches], of each branch, in any unit.
        fixed: of what always runs, in the same unit.
    """

    branches: np.ndarray
    fixed: float

    @classmethod
    def from_cost(cls, name: str, cost: CostTable) -> Resource:
        """MACs ("flops") or parameters ("params"), in millions."""
        branches, fixed = {
            "flops": (cost.branch_macs, cost.fixed.macs),
            "params": (cost.branch_params, cost.fixed.params),
        }[name]
        return cls(branches / 1e6, fixed / 1e6)


def cross_entropy(logits, labels, label_smoothing: float = 0.0):
    """Cross-entropy of each image, float32 [batch], for integer labels [batch]."""
    classes = logits.shape[-1]
    target = ops.one_hot(labels, classes) * (1 - label_smoothing) + label_smoothing / classes
    return -ops.sum(target * ops.log_softmax(logits, axis=-1), axis=-1)
