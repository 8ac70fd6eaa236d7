"""The training objective (Eq. 8)."""

from __future__ import annotations

from keras import ops

from drnet_tf.models.cost import expected_resource
from drnet_tf.models.objective import Resource, cross_entropy


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
