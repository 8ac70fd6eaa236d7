"""MobileNetV2 as a member of the Family interface."""

from __future__ import annotations

from typing import Any

from drnet_tf.models.cost import CostTable
from drnet_tf.models.family import Objective, Resource, StepValues
from drnet_tf.models.plain import recipe as schedule
from drnet_tf.models.plain.architecture import MobileNetV2Config
from drnet_tf.models.plain.cost import cost_table
from drnet_tf.models.plain.mobilenet_v2 import MobileNetV2
from drnet_tf.models.plain.objective import make_objective
from drnet_tf.models.plain.recipes import RECIPES
from drnet_tf.models.plain.variants import VARIANTS


class PlainFamily:
    """Networks without routing, beside which those with it are measured: MobileNetV2."""

    name = "plain"
    config = MobileNetV2Config
    recipe = schedule.Recipe
    recipes = RECIPES
    knob = None
    variants = VARIANTS
    resources = ()

    def build(
        self, config: MobileNetV2Config, seed: int | None = None, dtype: Any = None
    ) -> MobileNetV2:
        model = MobileNetV2(config, seed, name="mobilenet_v2", dtype=dtype)
        model.build((None, config.image_size, config.image_size, 3))
        return model

    def cost(self, config: MobileNetV2Config) -> CostTable:
        return cost_table(config)

    def step_values(self, recipe: schedule.Recipe, step: int, steps_per_epoch: int) -> StepValues:
        return schedule.step_values(recipe, step, steps_per_epoch)

    def objective(self, recipe: schedule.Recipe, resource: Resource | None) -> Objective:
        del resource  # the objective has no E[R]
        return make_objective(recipe)
