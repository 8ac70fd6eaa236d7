"""What the recipes of all families share: the optimizer's settings, the learning rate's course."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from drnet_tf.errors import require

LEARNING_RATES = ("cosine", "exponential", "triangular")
EXPONENTIAL_DECAY = 0.97  # the learning rate's, per epoch of the 250 on ImageNet
IMAGENET_EPOCHS = 250


@dataclasses.dataclass(frozen=True)
class StepValues:
    """Holds what one training step is done with.

    Args:
        learning_rate: of the optimizer.
        scalars: further numbers by name, such as a temperature, drop rates, the weight of a term.
            The step hands them to the objective and sets the model's `controls` to those of their
            names; it does not look inside.
        stage: of the recipe, counted from 1.
    """

    learning_rate: float
    scalars: Mapping[str, float] = dataclasses.field(default_factory=dict)
    stage: int = 1


@dataclasses.dataclass(frozen=True)
class Optimization:
    """Holds what every recipe says: how SGD steps, and what becomes of the weights afterwards.

    Args:
        batch_size: images per step, over all devices.
        learning_rate_schedule: "cosine" to 0 in each stage, "exponential" (x0.97 per epoch of 250),
            or "triangular": up over `warmup` of the stage and down to 0, linearly.
        warmup: fraction of each stage over which the learning rate rises from 0.
        momentum: momentum of SGD.
        nesterov: whether SGD uses Nesterov's momentum.
        weight_decay: what each weight is multiplied by and then added to its gradient, after
            clipping.
        clip_norm: global norm that the gradient is clipped to; 0 clips nothing.
        label_smoothing: share of the target that goes to all classes alike.
        weight_average: time constant of the average of the weights that the finished model has, as
            a share of the run; 0 for the last weights.
        norm_moments_threshold: T at which the moving moments of batch normalization are computed
            again after the last step; none leaves them. The model is then best at this T.
        norm_moments_images: training images that this takes, rounded up to batches.

    Raises:
        InputError: a value makes no sense; the message says what would.
    """

    batch_size: int = 128
    learning_rate_schedule: str = dataclasses.field(
        default="cosine", metadata={"choices": LEARNING_RATES}
    )
    warmup: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    clip_norm: float = 5.0
    label_smoothing: float = 0.0
    weight_average: float = 0.0
    norm_moments_threshold: float | None = None
    norm_moments_images: int = 10_000

    def __post_init__(self):
        self.require(self.batch_size >= 1, "batch_size", "1 or more")
        for name in ("weight_decay", "clip_norm"):
            self.require(0 <= getattr(self, name) < math.inf, name, "0 or more")
        for name in ("momentum", "label_smoothing", "warmup"):
            self.require(0 <= getattr(self, name) < 1, name, "at least 0 and less than 1")
        self.require(0 <= self.weight_average <= 1, "weight_average", "between 0 and 1")
        threshold = self.norm_moments_threshold
        finite = threshold is None or math.isfinite(threshold)
        self.require(finite, "norm_moments_threshold", "a number")
        self.require(self.norm_moments_images >= 1, "norm_moments_images", "1 or more")
        self.require(
            self.learning_rate_schedule in LEARNING_RATES,
            "learning_rate_schedule",
            f"one of {', '.join(LEARNING_RATES)}",
        )

    def require(self, condition: bool, name: str, would_be: str) -> None:
        """Raises an InputError that says what a field must be, unless the condition holds."""
        require(condition, f"{name} must be {would_be}", getattr(self, name))


def require_epochs(epochs: float) -> None:
    """Raises an InputError unless a run can be that long."""
    require(0 < epochs < math.inf, "epochs must be more than 0", epochs)


def total_steps(recipe, steps_per_epoch: int) -> int:
    """Counts the training steps of the whole run."""
    return max(1, round(recipe.epochs * steps_per_epoch))


def learning_rate_factor(recipe: Optimization, step: int, steps: int, total: int) -> float:
    """Computes by what the peak is multiplied at step `step` of the `steps` of a stage.

    Args:
        total: steps of the run.
    """
    warmup, steps = recipe.warmup, max(1, steps)
    # Half a step on: the first step of a warm-up is not lost.
    if warmup and (rising := (step + 0.5) / steps) < warmup:
        return rising / warmup
    falling = max(0.0, step / steps - warmup) / (1 - warmup)
    if recipe.learning_rate_schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * falling))
    if recipe.learning_rate_schedule == "triangular":
        return 1 - falling
    return EXPONENTIAL_DECAY ** (IMAGENET_EPOCHS * step / total)
