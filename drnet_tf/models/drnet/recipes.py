"""Recipes by name: what `--recipe` stands for."""

from __future__ import annotations

from drnet_tf.models.drnet.recipe import Recipe

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
