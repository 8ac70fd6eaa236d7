"""Compresses a trained model: many weights become zero, or few different numbers.

    python -m export.compress --method=prune --sparsity=0.5 --workdir=runs/first --output=runs/half
    python -m export.compress --method=cluster --clusters=32 --workdir=runs/first --output=runs/32

What is written is a training run as any other, for drnet_tf.evaluate and export.convert. Files of
the same size come of it, which zip to less: a .tflite holds every weight, and LiteRT computes with
zeros as fast as with other numbers.

The model is fine-tuned meanwhile, on training images that are augmented as in training, by
cross-entropy alone. Half of the images of a batch run all branches, the other half those that they
select at `--threshold`: one model is to serve both. All kernels are compressed but depthwise ones
and those of the routers (export/compress/twin.py says why), each for itself. Normalization is
folded into them before, and stays so: the new run's only adds the biases. It cannot be trained on.
"""

from __future__ import annotations

import dataclasses
import json
import math

import rich.console
from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Run, load_trained
from drnet_tf.writing import check_writable, write_text
from export.compress.compression import (
    check_compressible,
    check_new,
    compress,
    open_training_images,
    training_batches,
)
from export.compress.report import comparison, compressed_kernels, kernel_line, measure
from export.compress.twin_process import METHODS, PRUNE, Compression, TwinProcess
from export.flags import require_tensorflow
from export.graphs.drnet.folding import read_weights
from export.saved_model.writer import Serving


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
