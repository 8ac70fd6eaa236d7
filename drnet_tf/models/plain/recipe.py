"""How a network without routing is trained: one stage, one learning rate."""

from __future__ import annotations

import dataclasses
import math

from drnet_tf.models.schedules import (
    Optimization,
    StepValues,
    learning_rate_factor,
    require_epochs,
    total_steps,
)


@dataclasses.dataclass(frozen=True)
class Recipe(Optimization):
    """Says how a network without routing is trained.

    Args:
        epochs: length of the run.
        learning_rate: at its highest.
    """

    epochs: float = 200
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    clip_norm: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        require_epochs(self.epochs)
        self.require(0 < self.learning_rate < math.inf, "learning_rate", "more than 0")

    def of_epochs(self, epochs: float) -> Recipe:
        """Returns the same recipe in so many epochs."""
        return dataclasses.replace(self, epochs=epochs)


#: By the names that --recipe takes.
#: `--epochs` scales a recipe to any length; a flag of its own changes one value of it.
RECIPES: dict[str, Recipe] = {
    # Not the recipe of the paper of MobileNetV2, which is for ImageNet and has RMSProp: the one of
    # github.com/kuangliu/pytorch-cifar, usual for CIFAR.
    "paper": Recipe(),
    # For tens of epochs; usual values, not searched for, and those of DRNet's recipe of that name.
    "fast": Recipe(
        epochs=30,
        learning_rate=0.1,
        learning_rate_schedule="triangular",
        warmup=0.1,
        nesterov=True,
        clip_norm=5.0,
        label_smoothing=0.1,
        weight_average=0.02,
        # At any T, since nothing routes: averaged weights need moments of their own.
        norm_moments_threshold=1.0,
    ),
}


def step_values(recipe: Recipe, step: int, steps_per_epoch: int) -> StepValues:
    """Computes the values for step `step`, counted from 0; there are no scalars."""
    total = total_steps(recipe, steps_per_epoch)
    return StepValues(recipe.learning_rate * learning_rate_factor(recipe, step, total, total))
