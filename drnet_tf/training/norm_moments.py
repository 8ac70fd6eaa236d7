"""Moving moments of batch normalization for the network as it is used: routed, without noise.

Training follows the moments of a network that runs all branches with noisy weights and drops. At
a threshold the nodes get other sums, whose moments these are. Averaged weights need it too: what
was followed are the moments of weights that came before the average.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from drnet_tf.backends.choice import backend_module
from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.devices import all_layers
from drnet_tf.progress import Progress, silent
from drnet_tf.runs.checkpoints import Checkpoint, latest_checkpoint
from drnet_tf.runs.workdir import NORM_MOMENTS_FILE
from drnet_tf.training.feeds import Feed, unaugmented_batches
from drnet_tf.writing import write_text


def set_norm_moments(
    model, batches: Iterable, threshold: float | None, progress: Callable[[int], object]
) -> dict[str, np.ndarray]:
    """Sets the moving moments of a model to the plain averages of the moments of batches.

    Returns them by the paths of their variables, float32.

    A batch goes through the model once and each normalization uses the moments of its own input, as
    in training, but the branches are selected as in evaluation. All images count for the moments of
    a branch, also those that do not select it, as in training.

    Args:
        batches: images, float [batch, height, width, 3] in 0..255, all batches of one size.
        threshold: T of the selection.
        progress: called with the number of batches done.
    """
    layers = [layer for layer in all_layers(model) if isinstance(layer, BatchNorm)]
    variables = [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]
    sums, count = [np.zeros(v.shape, "float64") for v in variables], 0
    with _following_the_last_batch(layers):
        forward = backend_module().compile_updates(model, variables)
        for images in batches:
            sums = [s + moment for s, moment in zip(sums, forward(images, threshold), strict=True)]
            count += 1
            progress(count)
    if not count:
        raise ValueError("there is no batch to compute moments from")
    moments = {v.path: (s / count).astype("float32") for v, s in zip(variables, sums, strict=True)}
    for variable in variables:
        variable.assign(moments[variable.path])
    return moments


def finish_norm_moments(
    workdir: str, step_function, feed: Feed, progress: Progress = silent, writes: bool = True
) -> None:
    """Computes the moments of the finished model of a workdir, unless that is done already.

    The moments go into the last checkpoint beside all that is there, and `NORM_MOMENTS_FILE` says
    how they came about. A process that is killed before leaves the checkpoint as it was.

    Args:
        step_function: a `TrainingStep`, whose model is left with the finished weights; its recipe
            says at which threshold and on how many images.
        writes: whether this process is the one of the run that writes; all of them compute.
    """
    path = latest_checkpoint(workdir)
    assert path is not None, "there is a checkpoint at the end of a run"
    checkpoint = Checkpoint.read(path)
    model = step_function.model
    checkpoint.restore_finished(model)
    recipe = step_function.recipe
    count = min(math.ceil(recipe.norm_moments_images / recipe.batch_size), feed.steps_per_epoch)
    if not checkpoint.norm_moments:
        batches = unaugmented_batches(feed, step_function.arrays, recipe.norm_moments_images)
        moments = set_norm_moments(
            model,
            (pixels for pixels, _ in batches),
            recipe.norm_moments_threshold,
            lambda done: progress(done, count, ""),
        )
        if writes:
            dataclasses.replace(checkpoint, norm_moments=moments).write(workdir)
    if not writes:
        return
    record = {
        "threshold": recipe.norm_moments_threshold,
        "images": count * recipe.batch_size,
        "step": checkpoint.step,
    }
    write_text(pathlib.Path(workdir, NORM_MOMENTS_FILE), json.dumps(record, indent=2) + "\n")


@contextlib.contextmanager
def _following_the_last_batch(layers: list[BatchNorm]) -> Iterator[None]:
    """Makes evaluation set the moving moments to those of each batch, while in the block."""
    # One process sees a whole batch: there is nothing to synchronize with.
    temporary = {"momentum": 0.0, "follows_batches": True, "synchronized": False}
    before = [(layer, name, getattr(layer, name)) for layer in layers for name in temporary]
    try:
        for layer, name, _ in before:
            setattr(layer, name, temporary[name])
        yield
    finally:
        for layer, name, value in before:
            setattr(layer, name, value)
