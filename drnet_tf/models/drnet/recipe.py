"""The two-stage recipe and its schedules (Sec. 3.4 and 4.1), as functions of the progress of a run.

The paper trains 1200 epochs. Every schedule is expressed as a fraction of its stage or of the run,
so that a shorter run goes through the same values.
"""

from __future__ import annotations

import dataclasses
import math

from drnet_tf.errors import UserError
from drnet_tf.models.schedules import (
    EXPONENTIAL_DECAY,
    IMAGENET_EPOCHS,
    LEARNING_RATES,
    Hyperparameters,
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a DRNet is trained. Defaults are the paper's for CIFAR-10.

    Args:
        stage1_epochs, stage2_epochs: with the fixed temperature and without the resource term;
            with the falling temperature and with it.
        batch_size: images a step, over all devices.
        learning_rate1, learning_rate2: at the start of each stage.
        learning_rate_schedule: "cosine" to 0 in each stage, "exponential" (x0.97 an epoch of 250),
            or "triangular": up over `warmup` of the stage and down to 0, linearly.
        warmup: fraction of each stage over which the learning rate rises from 0; 0 in the paper.
        momentum, nesterov, weight_decay, clip_norm: of SGD. The decay is added to the gradient
            after it is clipped to a global norm; 0 clips nothing.
        temperature1: tau of stage 1.
        temperature2_start, temperature2_end: tau of stage 2, which falls by the same factor every
            step; from 1 to 0.5 that is the paper's exp(-0.0006) an epoch, in its 1155 epochs.
        resource_weight: lambda of Eq. 8, in stage 2.
        auxiliary_weight: of the auxiliary head's cross-entropy.
        label_smoothing: share of the target that goes to all classes alike.
        drop_connection, drop_branch: rates at the end of the run, which rise to it linearly.
        weight_average: time constant of the average of the weights that the finished model has, as
            a share of the run; 0 for the last weights.
        recalibrate_threshold: T at which the moving moments of batch normalization are computed
            anew after the last step; None leaves them. The model is then best at this T.
        recalibrate_images: how many training images that takes, rounded up to batches.

    Raises:
        UserError: a value makes no sense; the message says what would.
    """

    stage1_epochs: float = 600
    stage2_epochs: float = 600
    batch_size: int = 128
    learning_rate1: float = 0.025
    learning_rate2: float = 0.005
    learning_rate_schedule: str = "cosine"
    warmup: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    clip_norm: float = 5.0
    temperature1: float = 3.0
    temperature2_start: float = 1.0
    temperature2_end: float = 0.5
    resource_weight: float = 0.1
    auxiliary_weight: float = 0.4
    label_smoothing: float = 0.0
    drop_connection: float = 0.1
    drop_branch: float = 0.7
    weight_average: float = 0.0
    recalibrate_threshold: float | None = None
    recalibrate_images: int = 10_000

    def __post_init__(self):
        def require(condition, name, would_be):
            if not condition:
                raise UserError(f"{name} must be {would_be}, not {getattr(self, name)}")

        for name in ("stage1_epochs", "stage2_epochs", "weight_decay", "clip_norm"):
            require(0 <= getattr(self, name) < math.inf, name, "0 or more")
        require(self.stage1_epochs + self.stage2_epochs > 0, "stage1_epochs", "more than 0 epochs")
        for name in ("learning_rate1", "learning_rate2", "temperature1"):
            require(0 < getattr(self, name) < math.inf, name, "more than 0")
        require(self.batch_size >= 1, "batch_size", "1 or more")
        require(0 < self.temperature2_end < math.inf, "temperature2_end", "more than 0")
        require(
            self.temperature2_end <= self.temperature2_start < math.inf,
            "temperature2_start",
            "at least temperature2_end",
        )
        for name in ("resource_weight", "auxiliary_weight"):
            require(0 <= getattr(self, name) < math.inf, name, "0 or more")
        for name in ("momentum", "label_smoothing", "drop_connection", "warmup"):
            require(0 <= getattr(self, name) < 1, name, "at least 0 and less than 1")
        require(0 <= self.weight_average <= 1, "weight_average", "between 0 and 1")
        threshold = self.recalibrate_threshold
        require(threshold is None or math.isfinite(threshold), "recalibrate_threshold", "a number")
        require(self.recalibrate_images >= 1, "recalibrate_images", "1 or more")
        require(0 <= self.drop_branch <= 1, "drop_branch", "between 0 and 1")
        require(
            self.learning_rate_schedule in LEARNING_RATES,
            "learning_rate_schedule",
            f"one of {', '.join(LEARNING_RATES)}",
        )

    @property
    def epochs(self) -> float:
        return self.stage1_epochs + self.stage2_epochs

    def of_epochs(self, epochs: float) -> Recipe:
        """The same recipe in so many epochs; the stages keep their shares.

        Raises:
            UserError: the number makes no sense.
        """
        if not 0 < epochs < math.inf:
            raise UserError(f"epochs must be more than 0, not {epochs}")
        stage1 = epochs * (self.stage1_epochs / self.epochs)
        return dataclasses.replace(self, stage1_epochs=stage1, stage2_epochs=epochs - stage1)


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Training steps of the whole run."""
    return max(1, round(recipe.epochs * steps_per_epoch))


def hyperparameters(recipe: Recipe, step: int, steps_per_epoch: int) -> Hyperparameters:
    """The values for step `step`, counted from 0."""
    total = total_steps(recipe, steps_per_epoch)
    stage1 = round(recipe.stage1_epochs * steps_per_epoch) if recipe.stage2_epochs else total
    stage = 1 if step < stage1 else 2
    begin, end = (0, stage1) if stage == 1 else (stage1, total)
    progress = (step - begin) / max(1, end - begin)
    peak = recipe.learning_rate1 if stage == 1 else recipe.learning_rate2
    return Hyperparameters(
        stage=stage,
        learning_rate=peak * _learning_rate_factor(recipe, step - begin, end - begin, total),
        temperature=recipe.temperature1 if stage == 1 else _temperature2(recipe, progress),
        resource_weight=0.0 if stage == 1 else recipe.resource_weight,
        drop_connection=recipe.drop_connection * step / total,
        drop_branch=recipe.drop_branch * step / total,
    )


def _temperature2(recipe: Recipe, progress: float) -> float:
    ratio = recipe.temperature2_end / recipe.temperature2_start
    return recipe.temperature2_start * ratio**progress


def _learning_rate_factor(recipe: Recipe, step: int, steps: int, total: int) -> float:
    """For step `step` of the `steps` of a stage, in a run of `total` steps."""
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
