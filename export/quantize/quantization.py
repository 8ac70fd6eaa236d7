"""Makes quantized files and adds them to an export; `__main__.py` says what they are."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.runs.workdir import Trained
from drnet_tf.writing import replacing
from export.folder import names
from export.folder.description import describe_file
from export.folder.export import (
    check_files,
    check_source,
    read_description,
    read_structure,
    tflite_files,
)
from export.graphs.drnet.folding import read_weights
from export.graphs.drnet.vector_lanes import fill_vector_lanes
from export.quantize.calibration import THRESHOLDS, tensor_ranges
from export.quantize.fine_tuning import FineTuning, fine_tune
from export.quantize.int8 import quantize_int8, quantize_weights
from export.tflite.converter import to_tflite
from export.tflite.sharing import pack

NONE, FLOAT16, WEIGHT_INT8, INT8 = "none", "float16", "weight_int8", "int8"
INT8_QAT = "int8_qat"
QUANTIZATIONS = (FLOAT16, WEIGHT_INT8, INT8, INT8_QAT)
#: What is made where nobody says which: what takes seconds.
QUICK = (FLOAT16, WEIGHT_INT8, INT8)
#: What takes training images.
CALIBRATED = (INT8, INT8_QAT)
DEFAULT = FineTuning()


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
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
    *,
    batches: Iterable[np.ndarray] = (),
    fine_tuning: FineTuning = DEFAULT,
    seed: int = 0,
) -> dict[str, int]:
    """Adds files to an export. What is there afterwards is whole, or as it was before.

    Args:
        trained: the model that was exported.
        quantizations: of `QUANTIZATIONS`; files of an earlier call are replaced.
        images: to calibrate int8 and int8_qat with, float32 [images, image_size, image_size, 3]
            in 0..255, of the training split.
        thresholds: to calibrate and to fine-tune with.
        announce: called with what is being done.
        progress: of the calibration and of the fine-tuning, with the steps done, their number, and
            what is being done.
        batches: to fine-tune with, see `fine_tune`.
        fine_tuning: how, for int8_qat.
        seed: from which the images and the batches were drawn, for model.json.

    Returns:
        The size of each file in bytes, by quantization.

    Raises:
        UserError: there is no such quantization, no images where they are needed, or the files
            are not those of an export of this model.
    """
    quantizations = parse_quantizations(quantizations)
    check_files(export_dir)
    check_source(export_dir, trained)
    size = trained.model.config.image_size
    pixels = np.zeros(0, np.float32) if images is None else np.asarray(images, np.float32)
    calibrated = [kind for kind in quantizations if kind in CALIBRATED]
    if calibrated and (pixels.shape[1:] != (size, size, 3) or not len(pixels)):
        raise UserError(
            f"{calibrated[0]} is calibrated with images [images, {size}, {size}, 3], not "
            f"{list(pixels.shape)}"
        )
    model = tflite_files(export_dir)[names.FLOAT32].read_bytes()

    structure = read_structure(export_dir)

    def calibrate(model: bytes):
        return tensor_ranges(
            model, pixels, thresholds, lambda done, total: progress(done, total, "calibrating")
        )

    ranges = calibrate(model) if calibrated else {}

    def tuned() -> bytes:
        # As the file has it: the ranges of a convolution are found by its kernel.
        network = fill_vector_lanes(read_weights(trained.model))
        network = fine_tune(network, model, ranges, batches, fine_tuning, thresholds, progress)
        of_tuned = to_tflite(network, structure)
        return quantize_int8(of_tuned, calibrate(of_tuned))

    make = {
        FLOAT16: lambda: to_tflite(read_weights(trained.model), structure, float16=True),
        WEIGHT_INT8: lambda: quantize_weights(model),
        INT8: lambda: quantize_int8(model, ranges),
        INT8_QAT: tuned,
    }
    files = {}
    for kind in quantizations:
        announce(f"Making {file_name(kind)}")
        files[kind] = pack(make[kind]())
    facts: dict[str, Any] = {}
    if calibrated:
        facts["calibration"] = {
            "split": "train",
            "images": len(pixels),
            "seed": seed,
            "thresholds": list(thresholds),
        }
    if INT8_QAT in files:
        facts["fine_tuning"] = dataclasses.asdict(fine_tuning) | {"seed": seed}
    _add_files(export_dir, files, facts)
    return {kind: len(content) for kind, content in files.items()}


def _add_files(
    export_dir: pathlib.Path | str, files: dict[str, bytes], facts: dict[str, Any]
) -> None:
    """Writes .tflite files by their quantization into an export, and facts into its model.json."""
    description = read_description(export_dir) | facts
    files_by_kind = description.setdefault("tflite", {names.FLOAT32: names.TFLITE_FILE})
    with replacing(export_dir) as folder:
        try:
            shutil.copytree(export_dir, folder)
        except shutil.Error as error:
            # Of a list of all files that could not be copied, the first.
            raise OSError(error.args[0][0][2]) from error
        for kind, content in files.items():
            (folder / file_name(kind)).write_bytes(content)
            files_by_kind[kind] = file_name(kind)
            description["files"][file_name(kind)] = describe_file(folder / file_name(kind))
        text = json.dumps(description, indent=1) + "\n"
        (folder / names.DESCRIPTION_FILE).write_text(text)
