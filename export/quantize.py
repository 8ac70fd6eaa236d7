"""Adds smaller .tflite files to an export.

    python -m export.quantize --workdir=runs/digits --export_dir=exported/digits \
        --quantization=float16,weight_int8,int8

writes model_float16.tflite, model_weight_int8.tflite and model_int8.tflite beside model.tflite,
with the same inputs and outputs, and their sizes and checksums into model.json.

float16      weights stored as float16; computed in float32
weight_int8  weights of convolutions and of the classifier stored as int8, one scale for each
             output channel; computed in float32
int8         convolutions computed in int8, with ranges measured on training images

In the last two the routers keep their float32 weights, so that they select what they select. With
int8 the selection, the weighing and the sums of a node are computed in float32, too; what the
routers read, however, comes from convolutions in int8.
"""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import shutil
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import rich.console
from absl import flags

from drnet_tf import command_line
from drnet_tf.data.evaluation_images import first_images
from drnet_tf.errors import UserError
from drnet_tf.progress import ProgressBar
from drnet_tf.training.workdir import Trained, load_trained
from drnet_tf.writing import replacing
from export import artifacts
from export.calibration import THRESHOLDS, tensor_ranges
from export.packing import pack
from export.run_data import open_run_images, require_tensorflow
from export.structure import ROUTED
from export.tflite import to_tflite
from export.weights import read_weights

NONE, FLOAT16, WEIGHT_INT8, INT8 = "none", "float16", "weight_int8", "int8"
QUANTIZATIONS = (FLOAT16, WEIGHT_INT8, INT8)
CALIBRATION_IMAGES = 100


def file_name(quantization: str) -> str:
    return f"model_{quantization}.tflite"


def parse_quantizations(values: Sequence[str]) -> list[str]:
    """The quantizations of a comma-separated flag, each once; "none" adds none.

    Raises:
        UserError: there is no such quantization.
    """
    for value in values:
        if value not in (NONE, *QUANTIZATIONS):
            raise UserError(
                f"there is no quantization {value!r}; there are {', '.join((NONE, *QUANTIZATIONS))}"
            )
    return [value for value in dict.fromkeys(values) if value != NONE]


def quantize(
    trained: Trained,
    export_dir: pathlib.Path | str,
    quantizations: Sequence[str],
    images: np.ndarray | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    announce: Callable[[str], None] = lambda step: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Adds files to an export. What is there afterwards is whole, or as it was before.

    Args:
        trained: the model that was exported.
        quantizations: of `QUANTIZATIONS`; files of an earlier call are replaced.
        images: to calibrate int8 with, float32 [images, image_size, image_size, 3] in 0..255, of
            the training split.
        thresholds: to calibrate int8 with.
        announce: called with what is being done.
        progress: of the calibration.

    Returns:
        The size of each file in bytes, by quantization.

    Raises:
        UserError: there is no such quantization, no images where they are needed, or the files
            are not those of an export of this model.
    """
    quantizations = parse_quantizations(quantizations)
    artifacts.check_files(export_dir)
    artifacts.check_source(export_dir, trained)
    size = trained.model.config.image_size
    pixels = np.zeros(0, np.float32) if images is None else np.asarray(images, np.float32)
    if INT8 in quantizations and (pixels.shape[1:] != (size, size, 3) or not len(pixels)):
        raise UserError(
            f"{INT8} is calibrated with images [images, {size}, {size}, 3], not "
            f"{list(pixels.shape)}"
        )
    model = artifacts.tflite_files(export_dir)[artifacts.FLOAT32].read_bytes()
    make = {
        FLOAT16: lambda: to_tflite(read_weights(trained.model), ROUTED, float16=True),
        WEIGHT_INT8: lambda: quantize_weights(model),
        INT8: lambda: quantize_int8(model, pixels, thresholds, progress),
    }
    files = {}
    for kind in quantizations:
        announce(f"Making {file_name(kind)}")
        files[kind] = pack(make[kind]())
    description = artifacts.read_description(export_dir)
    names = description.setdefault("tflite", {artifacts.FLOAT32: artifacts.TFLITE_FILE})
    with replacing(export_dir) as folder:
        shutil.copytree(export_dir, folder)
        for kind, content in files.items():
            (folder / file_name(kind)).write_bytes(content)
            names[kind] = file_name(kind)
            description["files"][names[kind]] = artifacts.describe_file(folder / names[kind])
        if INT8 in files:
            description["calibration"] = {
                "split": "train",
                "images": len(pixels),
                "thresholds": list(thresholds),
            }
        text = json.dumps(description, indent=1) + "\n"
        (folder / artifacts.DESCRIPTION_FILE).write_text(text)
    return {kind: len(content) for kind, content in files.items()}


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    flags.DEFINE_string("workdir", None, "Folder of a training run.")
    flags.DEFINE_string("export_dir", None, "Folder of its export; the files are added to it.")
    define_quantization_flags(",".join(QUANTIZATIONS))
    flags.DEFINE_string("data_dir", None, "Prepared data set, instead of the run's.")


def define_quantization_flags(default: str) -> None:
    """Defines the flags that `quantize_from_flags` reads."""
    flags.DEFINE_list(
        "quantization", default, f"Which to make: {NONE}, or some of {', '.join(QUANTIZATIONS)}."
    )
    flags.DEFINE_integer(
        "calibration_images",
        CALIBRATION_IMAGES,
        f"How many training images {INT8} is calibrated with, the first ones.",
        lower_bound=1,
    )


def quantize_from_flags(
    trained: Trained, export_dir: str, quantizations: Sequence[str], data_dir: str | None
) -> None:
    """Reads the images, adds the files, and says so."""
    images = None
    if INT8 in quantizations:
        dataset = open_run_images(trained.run, data_dir)
        images = first_images(dataset, "train", flags.FLAGS.calibration_images)
    with ProgressBar("calibrating", patience=1.0) as bar:
        sizes = quantize(trained, export_dir, quantizations, images, progress=bar.update)
    float32 = artifacts.tflite_files(export_dir)[artifacts.FLOAT32].stat().st_size
    console = rich.console.Console()
    for kind, size in sizes.items():
        console.print(
            f"{pathlib.Path(export_dir, file_name(kind))}: {size / 1e6:.2f} MB, "
            f"{size / float32:.2f} of {artifacts.TFLITE_FILE}",
            highlight=False,
            soft_wrap=True,
        )


def main() -> None:
    values = flags.FLAGS
    if not values.workdir or not values.export_dir:
        raise UserError("needed are --workdir, a training run, and --export_dir, its export")
    quantizations = parse_quantizations(values.quantization)
    if not quantizations:
        raise UserError(f"--quantization is one or more of {', '.join(QUANTIZATIONS)}")
    require_tensorflow()
    artifacts.check_files(values.export_dir)
    trained = load_trained(values.workdir)
    quantize_from_flags(trained, values.export_dir, quantizations, values.data_dir)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
