"""Evaluates the model of a run on the images of its data set."""

from __future__ import annotations

from collections.abc import Sequence

from drnet_tf.data.evaluation_images import EvaluationImages, open_images
from drnet_tf.evaluation.thresholds import ThresholdResult, evaluate
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Run, Trained

BATCH_SIZE = 100


def open_run_images(run: Run, data_dir: str | None = None) -> EvaluationImages:
    """Opens the data set that a model was trained on, in `data_dir` or the run's folder."""
    return open_images(
        run.dataset,
        data_dir or run.settings.data_dir,
        run.config.image_size,
        train_on_validation=run.settings.train_on_validation,
    )


def evaluate_trained(
    trained: Trained,
    thresholds: Sequence[float | None],
    data_dir: str | None = None,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
) -> list[ThresholdResult]:
    """Evaluates on a split of the data set that the model was trained on."""
    images = open_run_images(trained.run, data_dir)
    with ProgressBar("evaluating") as progress:
        return evaluate(
            trained.model, lambda: images.batches(split, batch_size), thresholds, progress.update
        )
