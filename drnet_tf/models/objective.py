"""Parts of the objectives that families share."""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from drnet_tf.models.cost import CostTable

#: The last one by a table of measured latencies.
RESOURCES = ("macs", "params", "latency")


@dataclasses.dataclass(frozen=True)
class Resource:
    """Says what E[R] counts.

    Args:
        units: [*units], of each unit, in any unit of resource.
        fixed: of what always runs, in the same unit.
    """

    units: np.ndarray
    fixed: float

    @classmethod
    def from_cost(cls, name: str, cost: CostTable) -> Resource:
        """Returns MACs ("macs") or parameters ("params"), in millions."""
        units, fixed = {
            "macs": (cost.unit_macs, cost.fixed.macs),
            "params": (cost.unit_params, cost.fixed.params),
        }[name]
        return cls(units / 1e6, fixed / 1e6)


def accuracy(logits, labels):
    """Tells of each image whether it is classified correctly, float32 0 or 1 [batch]."""
    return ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, "int32")), "float32")


def cross_entropy(logits, labels, label_smoothing: float = 0.0):
    """Computes the cross-entropy of each image, float32 [batch], for integer labels [batch]."""
    classes = logits.shape[-1]
    target = ops.one_hot(labels, classes) * (1 - label_smoothing) + label_smoothing / classes
    return -ops.sum(target * ops.log_softmax(logits, axis=-1), axis=-1)
