"""MobileNetV2 as a member of the Family interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from drnet_tf.models.family import Family, Objective
from drnet_tf.models.objective import Resource, accuracy, cross_entropy
from drnet_tf.models.plain.architecture import MobileNetV2Config
from drnet_tf.models.plain.cost import cost_table
from drnet_tf.models.plain.mobilenet_v2 import MobileNetV2
from drnet_tf.models.plain.recipe import RECIPES, Recipe, step_values
from drnet_tf.models.plain.variants import VARIANTS


class PlainFamily(Family):
    """Offers networks without routing, beside which those with it are measured: MobileNetV2."""

    name = "plain"
    config = MobileNetV2Config
    recipe = Recipe
    recipes = RECIPES
    variants = VARIANTS
    cost = staticmethod(cost_table)
    step_values = staticmethod(step_values)

    def build(
        self, config: MobileNetV2Config, seed: int | None = None, dtype: Any = None
    ) -> MobileNetV2:
        return MobileNetV2(config, seed, name="mobilenet_v2", dtype=dtype)

    def objective(self, recipe: Recipe, resource: Resource | None) -> Objective:
        del resource  # cross-entropy alone has no E[R]

        def objective(model, images, labels, scalars: Mapping[str, Any]):
            del scalars  # there are none
            logits, _ = model(images, training=True)
            loss = ops.mean(cross_entropy(logits, labels, recipe.label_smoothing))
            correct = ops.mean(accuracy(logits, labels))
            return loss, {"loss": loss, "cross_entropy": loss, "accuracy": correct}

        return objective
