"""Compresses a trained model and writes the run that holds it."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.layers.branches import Pool, SeparableConv, Skip, find_branch
from drnet_tf.models.family import RoutedModel, knob_of
from drnet_tf.progress import Progress, ProgressBar, silent
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.workdir import MODEL_FILE, Run, Trained
from drnet_tf.training.feeds import Feed, open_feed
from drnet_tf.writing import replacing
from export.compress.twin_process import Batch, Compression, TwinProcess
from export.flags import require_tensorflow
from export.graphs.drnet.forward import DRNetGraph
from export.graphs.drnet.unfolding import write_weights
from export.graphs.graph import read_graph

#: Images on which twin and model are compared, and by how much their logits may differ, in shares
#: of the largest one.
COMPARED_IMAGES = 16
TOLERANCE = 1e-4


def compress(
    process: TwinProcess,
    trained: Trained,
    compression: Compression,
    batches: Iterable[Batch],
    output: pathlib.Path | str,
    threshold: float,
    progress: Progress = silent,
) -> None:
    """Writes the compressed run. What is there afterwards is whole, or not there.

    Args:
        process: to do it in.
        trained: the model, which has the compressed weights afterwards.
        batches: training images with a threshold each, as many as there are steps.
        output: folder to write.
        threshold: T at which twin and model are compared, beside that at which all branches run.
        progress: called with the number of steps done, of all, and the loss.

    Raises:
        UserError: the output is there already, the model is not one that can be compressed, or the
            loss is not finite.
    """
    check_new(output)
    check_compressible(trained.run)
    require_tensorflow()
    model = trained.model
    graph = read_graph(model)
    assert isinstance(graph, DRNetGraph)  # check_compressible has refused others
    batches = iter(batches)
    first = next(batches)
    thresholds = (knob_of(trained.run.family).everything, threshold)
    check_twin(process, model, graph, first[0][:COMPARED_IMAGES], thresholds)
    done = process.compress(graph, compression, itertools.chain([first], batches), progress)
    write_weights(model, done)
    run = dataclasses.replace(trained.run, compression=dataclasses.asdict(compression))
    with replacing(output) as folder:
        folder.mkdir()
        run.save(str(folder))
        Checkpoint.of(trained.step + compression.steps, model).write(str(folder))
        model.save(folder / MODEL_FILE)


def check_new(output: pathlib.Path | str) -> None:
    """Raises a UserError if there is something under that name."""
    output = pathlib.Path(output)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} exists: give the name of a new folder as --output")


def check_compressible(run: Run) -> None:
    """Raises a UserError unless the twin knows all parts of the model of a run."""
    if not hasattr(run.config, "branches"):
        raise UserError(
            f"only a DRNet can be compressed, and {run.model} is of the family {run.family.name}"
        )
    for name in run.config.branches:
        try:
            branch = find_branch(name)
        except ValueError as error:
            raise UserError(str(error)) from error
        if not isinstance(branch, Pool | Skip | SeparableConv):
            raise UserError(
                f"{run.model} has the branch {name}, a layer of its own, which cannot be compressed"
            )


def check_twin(
    process: TwinProcess,
    model: RoutedModel,
    graph: DRNetGraph,
    images: np.ndarray,
    thresholds: Iterable[float],
) -> None:
    """Compares the logits of a model and of the twin that is made of its weights.

    Images with a decision within rounding of the threshold are left out.

    Raises:
        RuntimeError: they differ.
    """
    for threshold in thresholds:
        logits, routing = model(images, threshold=threshold)
        expected, recalibrated, scores = map(
            keras.ops.convert_to_numpy, (logits, routing.own["recalibrated"], routing.scores)
        )
        close = graph.undecided({"recalibrated": recalibrated}, scores, threshold)
        sure = ~close.any(axis=(1, 2, 3))
        actual = process.logits(graph, images, np.full(len(images), threshold, np.float32))
        difference = np.abs(actual - expected)[sure].max(initial=0)
        if not difference <= TOLERANCE * np.abs(expected).max():
            raise RuntimeError(
                f"at T={threshold:g} the logits of the tf_keras twin differ by {difference:.2g} "
                f"from those of the model, up to {np.abs(expected).max():.2g}"
            )


def training_batches(
    feed: Feed, steps: int, threshold: float, everything: float
) -> Iterator[Batch]:
    """Gives as many batches as there are steps.

    Args:
        threshold: T of every second image.
        everything: T of the others, at which all branches run.
    """
    arrays = tuple(keras.ops.convert_to_tensor(array) for array in feed.arrays)
    endless = (batch for epoch in itertools.count() for batch in feed.batches(epoch, 0))
    for batch in itertools.islice(endless, steps):
        images, labels = (np.asarray(part) for part in feed.prepare(arrays, *batch))
        thresholds = np.where(np.arange(len(images)) % 2, threshold, everything)
        yield images, thresholds.astype(np.float32), labels


def open_training_images(run: Run, data_dir: str | None, batch_size: int | None) -> Feed:
    """Opens the training images of a run, augmented as they were for it."""
    with ProgressBar(f"reading {run.dataset}", patience=1.0) as progress:
        return open_feed(run, batch_size=batch_size, data_dir=data_dir, progress=progress.update)
