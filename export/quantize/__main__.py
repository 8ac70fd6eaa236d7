"""Adds smaller .tflite files to an export.

    python -m export.quantize --workdir=runs/digits --export_dir=exported/digits \
        --quantization=float16,weight_int8,int8,int8_qat

writes model_float16.tflite, model_weight_int8.tflite, model_int8.tflite and model_int8_qat.tflite
beside model.tflite, with the same inputs and outputs; their sizes and checksums go into model.json.

float16      weights stored as float16; computed in float32
weight_int8  weights of convolutions and of the classifier stored as int8, one scale for each
             output channel; computed in float32
int8         convolutions computed in int8, with ranges measured on training images
int8_qat     int8 of weights that were fine-tuned for it ("quantization-aware training"), for some
             minutes; see export/quantize/fine_tuning.py

In all but float16 the routers keep their float32 weights, so that they select what they select. In
the last two the selection, the weighing and the sums of a node are computed in float32, too; what
the routers read, however, comes from convolutions in int8.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags

from drnet_tf import command_line
from drnet_tf.data.evaluation_images import EvaluationImages, random_images
from drnet_tf.errors import UserError
from drnet_tf.evaluation.trained import open_run_images
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Run, Trained
from export.flags import define_export_flags, open_export, require_export_flags
from export.folder import names
from export.folder.export import Export
from export.quantize.fine_tuning import FineTuning
from export.quantize.quantization import (
    CALIBRATED,
    DEFAULT,
    INT8,
    INT8_QAT,
    NONE,
    QUANTIZATIONS,
    QUICK,
    check_tunable,
    parse_quantizations,
    quantize,
)

CALIBRATION_IMAGES = 100


def define_flags() -> None:
    define_export_flags()
    define_quantization_flags(",".join(QUICK))


def define_quantization_flags(default: str) -> None:
    """Defines the flags that `quantize_from_flags` reads."""
    flags.DEFINE_list(
        "quantization", default, f"Which to make: {NONE}, or some of {', '.join(QUANTIZATIONS)}."
    )
    flags.DEFINE_integer(
        "calibration_images",
        CALIBRATION_IMAGES,
        f"How many training images, drawn at random, {INT8} is calibrated with.",
        lower_bound=1,
    )
    flags.DEFINE_integer("quantization_seed", 0, "Seed that training images are drawn from.")
    flags.DEFINE_integer("qat_steps", DEFAULT.steps, f"Steps of fine-tuning for {INT8_QAT}.")
    flags.DEFINE_integer("qat_batch_size", DEFAULT.batch_size, "Images of a step.")
    flags.DEFINE_float("qat_learning_rate", DEFAULT.learning_rate, "Of the first step.")


def check_quantization_flags(run: Run) -> list[str]:
    """Reads --quantization, and checks the other flags that `quantize_from_flags` reads."""
    quantizations = parse_quantizations(flags.FLAGS.quantization)
    _fine_tuning()
    if INT8_QAT in quantizations:
        check_tunable(run)
    return quantizations


def _fine_tuning() -> FineTuning:
    values = flags.FLAGS
    return FineTuning(values.qat_steps, values.qat_learning_rate, values.qat_batch_size)


def quantize_from_flags(trained: Trained, export: Export, quantizations: Sequence[str]) -> None:
    """Reads the images, adds the files, and says so."""
    fine_tuning, seed = _fine_tuning(), flags.FLAGS.quantization_seed
    images = None
    batches: Iterator[np.ndarray] = iter(())
    if set(quantizations) & set(CALIBRATED):
        dataset = open_run_images(trained.run, flags.FLAGS.data_dir)
        if INT8_QAT in quantizations:
            batches = _batches(dataset, fine_tuning.batch_size, seed)
        images = random_images(dataset, flags.FLAGS.calibration_images, seed)
    with ProgressBar("quantizing", patience=1.0) as bar:
        export = quantize(
            trained,
            export,
            quantizations,
            images,
            progress=bar.update,
            batches=batches,
            fine_tuning=fine_tuning,
            seed=seed,
        )
    sizes = {kind: path.stat().st_size for kind, path in export.files.items()}
    for kind in quantizations:
        command_line.show(
            f"{export.files[kind]}: {sizes[kind] / 1e6:.2f} MB, "
            f"{sizes[kind] / sizes[names.FLOAT32]:.2f} of {names.TFLITE_FILE}"
        )


def _batches(dataset: EvaluationImages, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Gives training images without end, each epoch in another order."""
    count = dataset.count("train")
    if batch_size > count:
        raise UserError(f"--qat_batch_size must be at most {count}, the number of training images")
    # From 1: the calibration draws from epoch 0.
    epochs = (dataset.shuffled(batch_size, seed, epoch) for epoch in itertools.count(1))
    return (images for images, _ in itertools.chain.from_iterable(epochs))


def main() -> None:
    values = flags.FLAGS
    require_export_flags()
    if not parse_quantizations(values.quantization):
        raise UserError(f"--quantization is one or more of {', '.join(QUANTIZATIONS)}")
    quantizations = check_quantization_flags(Run.load(values.workdir))
    trained, export = open_export(writable=True)
    quantize_from_flags(trained, export, quantizations)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
