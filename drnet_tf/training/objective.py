"""The training objective (Eq. 8)."""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from drnet_tf.cost import CostTable, expected_resource

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


def objective(
    logits,
    intermediates,
    labels,
    resource: Resource,
    resource_weight,
    auxiliary_weight: float = 0.4,
    label_smoothing: float = 0.0,
):
    """Cross-entropy + auxiliary cross-entropy + lambda * [correct] * log E[R], over the batch.

    Only an image that is classified correctly is asked to be cheaper.

    Args:
        logits, intermediates: of a `DRNet`.
        labels: int [batch].
        resource: what E[R] counts.
        resource_weight: lambda, a scalar.
        auxiliary_weight, label_smoothing: see `Recipe`.

    Returns:
        The loss, a float32 scalar, and a dictionary of the batch means of its parts: `loss`,
        `cross_entropy`, `auxiliary`, `resource` (lambda * [correct] * log E[R]), `accuracy`,
        `expected_resource` (E[R], in the unit of `resource`), `expected_macs`.
    """
    correct = ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, "int32")), "float32")
    expected = expected_resource(intermediates["recalibrated"], resource.branches, resource.fixed)
    parts = {
        "cross_entropy": ops.mean(cross_entropy(logits, labels, label_smoothing)),
        "auxiliary": ops.mean(
            cross_entropy(intermediates["auxiliary_logits"], labels, label_smoothing)
        ),
        "resource": resource_weight * ops.mean(ops.stop_gradient(correct) * ops.log(expected)),
    }
    loss = parts["cross_entropy"] + auxiliary_weight * parts["auxiliary"] + parts["resource"]
    return loss, {
        "loss": loss,
        **parts,
        "accuracy": ops.mean(correct),
        "expected_resource": ops.mean(expected),
        "expected_macs": ops.mean(intermediates["expected_macs"]),
    }
