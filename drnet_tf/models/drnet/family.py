"""DRNet as a member of the Family interface."""

from __future__ import annotations

from typing import Any

from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.cost import cost_table
from drnet_tf.models.drnet.network import DRNet
from drnet_tf.models.drnet.objective import make_objective
from drnet_tf.models.drnet.recipe import RECIPES, Recipe, step_values
from drnet_tf.models.drnet.variants import VARIANTS
from drnet_tf.models.family import WORK, Family, Knob, Objective
from drnet_tf.models.objective import RESOURCES, Resource


class DRNetFamily(Family):
    """Offers Dynamic Routing Networks (Cai et al.); units are cells, connections, branches."""

    name = "drnet"
    config = DRNetConfig
    recipe = Recipe
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
    cost = staticmethod(cost_table)
    step_values = staticmethod(step_values)

    def build(self, config: DRNetConfig, seed: int | None = None, dtype: Any = None) -> DRNet:
        return DRNet(config, seed, name="drnet", dtype=dtype)

    def objective(self, recipe: Recipe, resource: Resource | None) -> Objective:
        assert resource is not None, "Eq. 8 has E[R]"
        return make_objective(recipe, resource)
