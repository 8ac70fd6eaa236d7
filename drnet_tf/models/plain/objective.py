"""The training objective: cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from drnet_tf.models.family import Objective
from drnet_tf.models.objective import accuracy, cross_entropy
from drnet_tf.models.plain.recipe import Recipe


def make_objective(recipe: Recipe) -> Objective:
    """Makes the function of model, images, labels and scalars that training lowers."""

    def objective(model, images, labels, scalars: Mapping[str, Any]):
        del scalars  # there are none
        logits, _ = model(images, training=True)
        loss = ops.mean(cross_entropy(logits, labels, recipe.label_smoothing))
        return loss, {
            "loss": loss,
            "cross_entropy": loss,
            "accuracy": ops.mean(accuracy(logits, labels)),
        }

    return objective
