"""Schedules that families share."""

from __future__ import annotations

import dataclasses

LEARNING_RATES = ("cosine", "exponential", "triangular")


EXPONENTIAL_DECAY = 0.97  # the learning rate's, an epoch, of the 250 on ImageNet


IMAGENET_EPOCHS = 250


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """What one training step is done with; see `Recipe`."""

    stage: int
    learning_rate: float
    temperature: float
    resource_weight: float
    drop_connection: float
    drop_branch: float
