"""Evaluates the model of a run."""

from __future__ import annotations

from collections.abc import Sequence

from drnet_tf.data.evaluation_images import open_images
from drnet_tf.evaluation.thresholds import ThresholdResult, evaluate
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Trained

BATCH_SIZE = 100


def evaluate_trained(
    trained: Trained,
    thresholds: Sequence[float],
    data_dir: str | None = None,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
) -> list[ThresholdResult]:
    """Evaluates on a split of the data set that the model was trained on."""
    settings = trained.run.settings
    images = open_images(
        trained.run.dataset,
        data_dir or settings["data_dir"],
        trained.run.config.image_size,
        train_on_validation=settings["train_on_validation"],
    )
    with ProgressBar("evaluating") as progress:
        return evaluate(
            trained.model,
            lambda: images.batches(split, batch_size),
            thresholds,
            progress.update,
        )
