"""DRNet as a member of the Family interface."""

from __future__ import annotations

from typing import Any

from drnet_tf.models.cost import CostTable
from drnet_tf.models.drnet import recipe as schedule
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.cost import cost_table
from drnet_tf.models.drnet.network import DRNet
from drnet_tf.models.drnet.objective import make_objective
from drnet_tf.models.drnet.recipes import RECIPES
from drnet_tf.models.drnet.variants import VARIANTS
from drnet_tf.models.family import WORK, Knob, Objective, Resource, StepValues
from drnet_tf.models.objective import RESOURCES


class DRNetFamily:
    """Offers Dynamic Routing Networks (Cai et al.); units are cells, connections, branches."""

    name = "drnet"
    config = DRNetConfig
    recipe = schedule.Recipe
    recipes = RECIPES
    knob = Knob(
        default=0.8,  # the T at which the paper reports its models
        everything=1.0,
        least=0.0,
        most=1.0,
        more_is=WORK,
        shown=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    )
    variants = VARIANTS
    resources = RESOURCES

    def build(self, config: DRNetConfig, seed: int | None = None, dtype: Any = None) -> DRNet:
        model = DRNet(config, seed, name="drnet", dtype=dtype)
        model.build((None, config.image_size, config.image_size, 3))
        return model

    def cost(self, config: DRNetConfig) -> CostTable:
        return cost_table(config)

    def step_values(self, recipe: schedule.Recipe, step: int, steps_per_epoch: int) -> StepValues:
        return schedule.step_values(recipe, step, steps_per_epoch)

    def objective(self, recipe: schedule.Recipe, resource: Resource | None) -> Objective:
        assert resource is not None, "Eq. 8 has E[R]"
        return make_objective(recipe, resource)
