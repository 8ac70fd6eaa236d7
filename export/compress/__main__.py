"""Compresses a trained model: many weights become zero, or few different numbers.

    python -m export.compress --method=prune --sparsity=0.5 --workdir=runs/first --output=runs/half
    python -m export.compress --method=cluster --clusters=32 --workdir=runs/first --output=runs/32

It writes a training run like any other, for drnet_tf.evaluate and export.convert. The exported
file has the same size, only the zipped file is smaller: a .tflite holds every weight, and LiteRT
computes with zeros as fast as with other numbers.

The model is fine-tuned meanwhile, on training images that are augmented as in training, by
cross-entropy alone. Half of the images of a batch run all branches, the other half those that they
select at `--threshold`: one model is to serve both. All kernels are compressed but depthwise ones
and those of the routers (export/compress/twin.py says why), each for itself. Normalization is
folded into them before, and stays so: the new run's only adds the biases. It cannot be trained on.
"""

from __future__ import annotations

import dataclasses
import math

from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.flags import (
    check_json,
    define_json_flag,
    define_run_flags,
    define_threshold_flag,
    read_threshold,
    require_flags,
    write_json,
)
from drnet_tf.models.family import knob_of
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Run, load_trained
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
from export.graphs.graph import read_graph


def define_flags() -> None:
    define_run_flags()
    flags.DEFINE_enum("method", PRUNE, METHODS, "Zeros, or few values in each kernel.")
    flags.DEFINE_string("output", None, "Folder to write, of the compressed run.")
    flags.DEFINE_float("sparsity", Compression.sparsity, "Share of zeros, for prune.")
    flags.DEFINE_integer("clusters", Compression.clusters, "Values in a kernel, for cluster.")
    flags.DEFINE_float("epochs", 2.0, "How long to fine-tune.")
    flags.DEFINE_integer("steps", None, "The same in steps, instead of --epochs.")
    flags.DEFINE_integer("batch_size", None, "Images per step, instead of the run's.", 2)
    flags.DEFINE_float("learning_rate", Compression.learning_rate, "Of Adam, at the start.")
    define_threshold_flag("T at which half of the images are fine-tuned")
    define_json_flag()


def main() -> None:
    values = flags.FLAGS
    require_flags(workdir="a training run", output="the folder to write")
    compression = Compression(
        values.method,
        values.sparsity,
        values.clusters,
        2 if values.steps is None else values.steps,
        values.learning_rate,
    )
    if not 0 <= values.epochs < math.inf:
        raise UserError(f"--epochs must be 0 or more, not {values.epochs:g}")
    check_new(values.output)
    check_json()
    require_tensorflow()
    run = Run.load(values.workdir)
    check_compressible(run)
    knob = knob_of(run.family)
    threshold = read_threshold(run.family)
    assert threshold is not None  # of a family with a knob
    trained = load_trained(values.workdir)
    feed = open_training_images(run, values.data_dir, values.batch_size)
    if values.steps is None:
        steps = round(values.epochs * feed.steps_per_epoch)
        compression = dataclasses.replace(compression, steps=steps)
    smoothing = run.recipe.label_smoothing
    compression = dataclasses.replace(compression, label_smoothing=smoothing)

    before = measure(trained, threshold, values.data_dir)
    batches = training_batches(feed, compression.steps, threshold, knob.everything)
    with ProgressBar("fine-tuning") as bar, TwinProcess() as process:
        compress(process, trained, compression, batches, values.output, threshold, bar.update)
    trained = load_trained(values.output)
    kernels = compressed_kernels(read_graph(trained.model))
    after = measure(trained, threshold, values.data_dir)

    title = f"{run.model}, {compression.method}, {compression.steps} steps"
    command_line.show(
        comparison(before, after, threshold, title),
        kernel_line(kernels, compression.method),
        f"{values.output}: next python -m export.convert --workdir={values.output}",
    )
    write_json(
        {
            "model": run.model,
            "compression": dataclasses.asdict(compression),
            "threshold": threshold,
            "before": dataclasses.asdict(before),
            "after": dataclasses.asdict(after),
            "kernels": [dataclasses.asdict(kernel) for kernel in kernels],
        }
    )


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
