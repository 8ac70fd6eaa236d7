"""Recipes by name: what `--recipe` stands for."""

from __future__ import annotations

from drnet_tf.models.plain.recipe import Recipe

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
