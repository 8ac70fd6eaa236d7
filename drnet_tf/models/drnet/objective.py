"""The training objective (Eq. 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from drnet_tf.models.cost import expected_resource
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.family import Objective, Routing
from drnet_tf.models.objective import Resource, accuracy, cross_entropy


def make_objective(recipe: Recipe, resource: Resource) -> Objective:
    """Makes the function of model, images, labels and scalars that training lowers."""

    def objective(model, images, labels, scalars: Mapping[str, Any]):
        logits, routing = model(
            images,
            connection_rate=scalars["drop_connection"],
            branch_rate=scalars["drop_branch"],
            training=True,
        )
        return loss_and_metrics(
            logits,
            routing,
            labels,
            resource,
            scalars["resource_weight"],
            recipe.auxiliary_weight,
            recipe.label_smoothing,
        )

    return objective


def loss_and_metrics(
    logits,
    routing: Routing,
    labels,
    resource: Resource,
    resource_weight,
    auxiliary_weight: float = 0.4,
    label_smoothing: float = 0.0,
) -> tuple[Any, dict[str, Any]]:
    """Computes cross-entropy + auxiliary cross-entropy + lambda * [correct] * log E[R].

    Only an image that is classified correctly is asked to be cheaper.

    Args:
        logits, routing: of a `DRNet`.
        labels: int [batch].
        resource: what E[R] counts.
        resource_weight: lambda, a scalar.
        auxiliary_weight, label_smoothing: see `Recipe`.

    Returns:
        The loss, a float32 scalar, and a dictionary of the batch means of its parts: `loss`,
        `cross_entropy`, `auxiliary`, `resource` (lambda * [correct] * log E[R]), `accuracy`,
        `expected_resource` (E[R], in the unit of `resource`), `expected_macs`.
    """
    correct = accuracy(logits, labels)
    expected = expected_resource(routing.own["recalibrated"], resource.units, resource.fixed)
    auxiliary = cross_entropy(routing.own["auxiliary_logits"], labels, label_smoothing)
    parts = {
        "cross_entropy": ops.mean(cross_entropy(logits, labels, label_smoothing)),
        "auxiliary": ops.mean(auxiliary),
        "resource": resource_weight * ops.mean(ops.stop_gradient(correct) * ops.log(expected)),
    }
    loss = parts["cross_entropy"] + auxiliary_weight * parts["auxiliary"] + parts["resource"]
    return loss, {
        "loss": loss,
        **parts,
        "accuracy": ops.mean(correct),
        "expected_resource": ops.mean(expected),
        "expected_macs": ops.mean(routing.own["expected_macs"]),
    }
