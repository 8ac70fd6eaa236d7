"""The two-stage recipe and its schedules (Sec. 3.4 and 4.1), as functions of the progress of a run.

The paper trains 1200 epochs. Every schedule is expressed as a fraction of its stage or of the run,
so that a shorter run goes through the same values.
"""

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
    """Says how a DRNet is trained. Defaults are the paper's for CIFAR-10.

    Args:
        stage1_epochs: epochs with the fixed temperature and without the resource term.
        stage2_epochs: epochs with the falling temperature and with the resource term.
        learning_rate1: learning rate at the start of stage 1.
        learning_rate2: learning rate at the start of stage 2.
        temperature1: tau of stage 1.
        temperature2_start: tau at the start of stage 2, in which it falls by the same factor every
            step; from 1 to 0.5 that is the paper's exp(-0.0006) per epoch, in its 1155 epochs.
        temperature2_end: tau at the end of stage 2.
        resource_weight: lambda of Eq. 8, in stage 2.
        auxiliary_weight: weight of the auxiliary head's cross-entropy.
        drop_connection: share of connections that are dropped at the end of the run, to which it
            rises linearly.
        drop_branch: share of branches that are dropped at the end of the run, to which it rises
            linearly.
    """

    stage1_epochs: float = 600
    stage2_epochs: float = 600
    learning_rate1: float = 0.025
    learning_rate2: float = 0.005
    temperature1: float = 3.0
    temperature2_start: float = 1.0
    temperature2_end: float = 0.5
    resource_weight: float = 0.1
    auxiliary_weight: float = 0.4
    drop_connection: float = 0.1
    drop_branch: float = 0.7

    def __post_init__(self):
        super().__post_init__()
        require = self.require
        for name in ("stage1_epochs", "stage2_epochs", "resource_weight", "auxiliary_weight"):
            require(0 <= getattr(self, name) < math.inf, name, "0 or more")
        require(self.stage1_epochs + self.stage2_epochs > 0, "stage1_epochs", "more than 0 epochs")
        for name in ("learning_rate1", "learning_rate2", "temperature1", "temperature2_end"):
            require(0 < getattr(self, name) < math.inf, name, "more than 0")
        require(
            self.temperature2_end <= self.temperature2_start < math.inf,
            "temperature2_start",
            "at least temperature2_end",
        )
        require(0 <= self.drop_connection < 1, "drop_connection", "at least 0 and less than 1")
        require(0 <= self.drop_branch <= 1, "drop_branch", "between 0 and 1")

    @property
    def epochs(self) -> float:
        """Returns the length of the run."""
        return self.stage1_epochs + self.stage2_epochs

    def of_epochs(self, epochs: float) -> Recipe:
        """Returns the same recipe in so many epochs; the stages keep their shares."""
        require_epochs(epochs)
        stage1 = epochs * (self.stage1_epochs / self.epochs)
        return dataclasses.replace(self, stage1_epochs=stage1, stage2_epochs=epochs - stage1)


#: By the names that --recipe takes.
#: `--epochs` scales a recipe to any length; a flag of its own changes one value of it.
RECIPES: dict[str, Recipe] = {
    # Sec. 4.1, CIFAR-10.
    "paper": Recipe(),
    # For tens of epochs. The parts are those by which plain networks reach 96% on CIFAR-10 in some
    # 45 epochs; the values are usual ones for batches of 128, and have not been searched for.
    "fast": Recipe(
        # Most of the run is for accuracy. The last fifth is at the low temperature, at which the
        # weights of the branches are nearly what the selection makes of them.
        stage1_epochs=24,
        stage2_epochs=6,
        # Few steps have to be long ones. The warm-up, the clipped gradient and the fall to zero
        # make that rate possible. Stage 2 starts from a trained network: a fifth, as in the paper.
        learning_rate1=0.1,
        learning_rate2=0.02,
        learning_rate_schedule="triangular",
        warmup=0.1,
        nesterov=True,
        # A decay acts by rate times steps: the paper's is too little to bound weights in so few.
        weight_decay=5e-4,
        label_smoothing=0.1,
        # A short run does not overfit, it does not fit: there is little to regularize. A rest of
        # drop-branch is left, which makes up for branches that the selection leaves out.
        drop_connection=0.0,
        drop_branch=0.1,
        # The last tenth of stage 2.
        weight_average=0.02,
        # The threshold at which the paper reports its models.
        norm_moments_threshold=0.8,
    ),
}


def step_values(recipe: Recipe, step: int, steps_per_epoch: int) -> StepValues:
    """Computes the values for step `step`, counted from 0.

    The scalars are `temperature`, `resource_weight`, `drop_connection` and `drop_branch`.
    """
    total = total_steps(recipe, steps_per_epoch)
    stage1 = round(recipe.stage1_epochs * steps_per_epoch) if recipe.stage2_epochs else total
    stage = 1 if step < stage1 else 2
    begin, end = (0, stage1) if stage == 1 else (stage1, total)
    progress = (step - begin) / max(1, end - begin)
    peak = recipe.learning_rate1 if stage == 1 else recipe.learning_rate2
    return StepValues(
        learning_rate=peak * learning_rate_factor(recipe, step - begin, end - begin, total),
        scalars={
            "temperature": recipe.temperature1 if stage == 1 else _temperature2(recipe, progress),
            "resource_weight": 0.0 if stage == 1 else recipe.resource_weight,
            "drop_connection": recipe.drop_connection * step / total,
            "drop_branch": recipe.drop_branch * step / total,
        },
        stage=stage,
    )


def _temperature2(recipe: Recipe, progress: float) -> float:
    ratio = recipe.temperature2_end / recipe.temperature2_start
    return recipe.temperature2_start * ratio**progress
