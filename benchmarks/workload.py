"""The training step that is measured: a batch in the middle of stage 2, where every term counts."""

from __future__ import annotations

import numpy as np

from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.recipe import Recipe, step_values
from drnet_tf.models.schedules import StepValues, total_steps

BATCHES = 4  # different ones, in turn
STEPS_PER_EPOCH = 100  # of an imagined data set; only the progress of the run counts


def middle_of_stage_2(recipe: Recipe) -> StepValues:
    """Learning rate, temperature and drop rates there."""
    step = round(0.75 * total_steps(recipe, STEPS_PER_EPOCH))
    return step_values(recipe, step, STEPS_PER_EPOCH)


def synthetic_batches(config: DRNetConfig, batch_size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images, float32 [batch, image_size, image_size, 3] in 0..255, and labels, int32 [batch].

    Noise: speed does not depend on what the images show.
    """
    generator = np.random.default_rng(0)
    shape = (batch_size, config.image_size, config.image_size, 3)
    return [
        (
            generator.integers(0, 256, shape).astype(np.float32),
            generator.integers(0, config.classes, batch_size, dtype=np.int32),
        )
        for _ in range(BATCHES)
    ]
