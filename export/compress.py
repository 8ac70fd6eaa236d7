"""Compresses a trained model: many weights become zero, or few different numbers.

    python -m export.compress --method=prune --sparsity=0.5 --workdir=runs/first --output=runs/half
    python -m export.compress --method=cluster --clusters=32 --workdir=runs/first --output=runs/32

What is written is a training run as any other, for drnet_tf.evaluate and export.convert. Files of
the same size come of it, which zip to less: a .tflite holds every weight, and LiteRT computes with
zeros as fast as with other numbers.

The model is fine-tuned meanwhile, on training images that are augmented as in training, by
cross-entropy alone. Half of the images of a batch run all branches, the other half those that they
select at `--threshold`: one model is to serve both. All kernels are compressed but depthwise ones
and those of the routers (export/twin.py says why), each for itself. Normalization is folded into
them before, and stays so: the new run's only adds the biases. It cannot be trained on.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import rich.console
from absl import flags

from drnet_tf import command_line
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.errors import UserError
from drnet_tf.layers.branches import Pool, SeparableConv, Skip, find_branch
from drnet_tf.models import DRNet
from drnet_tf.progress import ProgressBar
from drnet_tf.training.checkpoints import Checkpoint
from drnet_tf.training.feeds import Feed, open_feed
from drnet_tf.training.workdir import MODEL_FILE, Run, Trained, load_trained
from drnet_tf.writing import check_writable, replacing, write_text
from export.borderline import borderline
from export.compression_report import comparison, compressed_kernels, kernel_line, measure
from export.run_data import require_tensorflow
from export.saved_model import Serving
from export.twin_process import METHODS, PRUNE, Batch, Compression, TwinProcess
from export.unfolding import write_weights
from export.weights import Network, read_weights

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
    progress: Callable[[int, int, str], None] = lambda step, total, text: None,
) -> None:
    """Writes the compressed run. What is there afterwards is whole, or not there.

    Args:
        process: to do it in.
        trained: the model, which has the compressed weights afterwards.
        batches: training images with a threshold each, as many as there are steps.
        output: folder to write.
        threshold: T at which twin and model are compared, beside 1.
        progress: called with the number of steps done, of all, and the loss.

    Raises:
        UserError: the output is there already, the model is not one that can be compressed, or the
            loss is not finite.
    """
    check_new(output)
    check_compressible(trained.run)
    require_tensorflow()
    model = trained.model
    network = read_weights(model)
    batches = iter(batches)
    first = next(batches)
    check_twin(process, model, network, first[0][:COMPARED_IMAGES], (1.0, threshold))
    done = process.compress(network, compression, itertools.chain([first], batches), progress)
    write_weights(model, done)
    settings = trained.run.settings | {"compression": dataclasses.asdict(compression)}
    with replacing(output) as folder:
        folder.mkdir()
        dataclasses.replace(trained.run, settings=settings).save(str(folder))
        Checkpoint.of(trained.step + compression.steps, model).write(str(folder))
        model.save(folder / MODEL_FILE)


def check_new(output: pathlib.Path | str) -> None:
    """Raises:
    UserError: there is something under that name.
    """
    output = pathlib.Path(output)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"{output} exists: give the name of a new folder as --output")


def check_compressible(run: Run) -> None:
    """Raises:
    UserError: the model of a run has parts that the twin does not know.
    """
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
    model: DRNet,
    network: Network,
    images: np.ndarray,
    thresholds: Iterable[float],
) -> None:
    """Compares the logits of a model and of the twin that is made of its weights.

    Images with a decision that hangs on rounding are left out.

    Raises:
        RuntimeError: they differ.
    """
    for threshold in thresholds:
        logits, intermediates = model(images, threshold=threshold)
        expected = keras.ops.convert_to_numpy(logits)
        recalibrated = keras.ops.convert_to_numpy(intermediates["recalibrated"])
        sure = ~borderline(recalibrated, threshold).any(axis=(1, 2, 3))
        actual = process.logits(network, images, np.full(len(images), threshold, np.float32))
        difference = np.abs(actual - expected)[sure].max(initial=0)
        if not difference <= TOLERANCE * np.abs(expected).max():
            raise RuntimeError(
                f"at T={threshold:g} the logits of the tf_keras twin differ by {difference:.2g} "
                f"from those of the model, up to {np.abs(expected).max():.2g}"
            )


def training_batches(feed: Feed, steps: int, threshold: float) -> Iterator[Batch]:
    """As many batches as there are steps; every second image is to run all branches."""
    arrays = tuple(keras.ops.convert_to_tensor(array) for array in feed.arrays)
    endless = (batch for epoch in itertools.count() for batch in feed.batches(epoch, 0))
    for batch in itertools.islice(endless, steps):
        images, labels = (np.asarray(part) for part in feed.prepare(arrays, *batch))
        thresholds = np.where(np.arange(len(images)) % 2, threshold, 1.0)
        yield images, thresholds.astype(np.float32), labels


def open_training_images(run: Run, data_dir: str | None, batch_size: int | None) -> Feed:
    """The training images of a run, augmented as they were for it."""
    settings = run.settings
    names = [field.name for field in dataclasses.fields(Augmentation)]
    # JSON has given lists.
    given: dict[str, Any] = {
        name: tuple(settings[name]) if isinstance(settings[name], list) else settings[name]
        for name in names
        if name in settings
    }
    with ProgressBar(f"reading {run.dataset}", patience=1.0) as progress:
        return open_feed(
            run.dataset,
            data_dir or settings["data_dir"],
            settings["input_pipeline"],
            image_size=run.config.image_size,
            batch_size=batch_size or settings["batch_size"],
            augmentation=Augmentation(**given),
            seed=settings["seed"],
            train_on_validation=settings["train_on_validation"],
            on_progress=progress.update,
        )


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    flags.DEFINE_enum("method", PRUNE, METHODS, "Zeros, or few values in each kernel.")
    flags.DEFINE_string("workdir", None, "Folder of a training run.")
    flags.DEFINE_string("output", None, "Folder to write, of the compressed run.")
    flags.DEFINE_float("sparsity", Compression.sparsity, "Share of zeros, for prune.")
    flags.DEFINE_integer("clusters", Compression.clusters, "Values in a kernel, for cluster.")
    flags.DEFINE_float("epochs", 2.0, "How long to fine-tune.")
    flags.DEFINE_integer("steps", None, "The same in steps, instead of --epochs.")
    flags.DEFINE_integer("batch_size", None, "Images a step, instead of the run's.", 2)
    flags.DEFINE_float("learning_rate", Compression.learning_rate, "Of Adam, at the start.")
    flags.DEFINE_float(
        "threshold", Serving.default_threshold, "T at which half of the images are fine-tuned."
    )
    flags.DEFINE_string("data_dir", None, "Prepared data set, instead of the run's.")
    flags.DEFINE_string("json", None, "Write the results to this file too.")


def main() -> None:
    values = flags.FLAGS
    if not values.workdir or not values.output:
        raise UserError("needed are --workdir, a training run, and --output, the folder to write")
    compression = Compression(
        values.method,
        values.sparsity,
        values.clusters,
        2 if values.steps is None else values.steps,
        values.learning_rate,
    )
    for name, value in (("epochs", values.epochs), ("threshold", values.threshold)):
        if not 0 <= value < math.inf:
            raise UserError(f"--{name} must be 0 or more, not {value:g}")
    check_new(values.output)
    if values.json:
        check_writable(values.json)
    require_tensorflow()
    run = Run.load(values.workdir)
    check_compressible(run)
    trained = load_trained(values.workdir)
    feed = open_training_images(run, values.data_dir, values.batch_size)
    if values.steps is None:
        steps = round(values.epochs * feed.steps_per_epoch)
        compression = dataclasses.replace(compression, steps=steps)
    smoothing = run.settings.get("label_smoothing", 0.0)
    compression = dataclasses.replace(compression, label_smoothing=smoothing)

    before = measure(trained, values.threshold, values.data_dir)
    batches = training_batches(feed, compression.steps, values.threshold)
    with ProgressBar("fine-tuning") as bar, TwinProcess() as process:
        compress(
            process,
            trained,
            compression,
            batches,
            values.output,
            values.threshold,
            bar.update,
        )
    trained = load_trained(values.output)
    kernels = compressed_kernels(read_weights(trained.model))
    after = measure(trained, values.threshold, values.data_dir)

    console = rich.console.Console()
    title = f"{run.model}, {compression.method}, {compression.steps} steps"
    console.print(comparison(before, after, values.threshold, title))
    for line in (
        kernel_line(kernels, compression.method),
        f"{values.output}: next python -m export.convert --workdir={values.output}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    if values.json:
        report = {
            "model": run.model,
            "compression": dataclasses.asdict(compression),
            "threshold": values.threshold,
            "before": dataclasses.asdict(before),
            "after": dataclasses.asdict(after),
            "kernels": [dataclasses.asdict(kernel) for kernel in kernels],
        }
        write_text(values.json, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
