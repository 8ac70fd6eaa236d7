"""Makes quantized files and adds them to an export; `__main__.py` says what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.models.family import Knob
from drnet_tf.progress import Progress, silent
from drnet_tf.runs.workdir import Run, Trained
from export.folder.export import Export
from export.graphs.drnet.forward import DRNetGraph
from export.graphs.graph import graph_of
from export.quantize.calibration import tensor_ranges
from export.quantize.fine_tuning import FineTuning, fine_tune
from export.quantize.int8 import quantize_int8, quantize_weights
from export.tflite.converter import finish, to_tflite

NONE, FLOAT16, WEIGHT_INT8, INT8 = "none", "float16", "weight_int8", "int8"
INT8_QAT = "int8_qat"
QUANTIZATIONS = (FLOAT16, WEIGHT_INT8, INT8, INT8_QAT)
#: What is made where nobody says which: what takes seconds.
QUICK = (FLOAT16, WEIGHT_INT8, INT8)
#: What takes training images.
CALIBRATED = (INT8, INT8_QAT)
DEFAULT = FineTuning()


def parse_quantizations(values: Sequence[str]) -> list[str]:
    """Reads the quantizations of a comma-separated flag, each once; "none" adds none.

    Raises:
        UserError: there is no such quantization.
    """
    for value in values:
        if value not in (NONE, *QUANTIZATIONS):
            raise UserError(
                f"there is no quantization {value!r}; there are {', '.join((NONE, *QUANTIZATIONS))}"
            )
    return [value for value in dict.fromkeys(values) if value != NONE]


def check_tunable(run: Run) -> None:
    """Raises a UserError for a model without routing: its rounding is not imitated in training."""
    if run.family.knob is None:
        raise UserError(
            f"{INT8_QAT} is made of models with routing only, and {run.model} is of the family "
            f"{run.family.name}: its weights cannot be fine-tuned for int8"
        )


def calibration_thresholds(knob: Knob | None) -> tuple[float, ...]:
    """Returns what a model is calibrated and fine-tuned at: where all units run, and in use."""
    if knob is None:
        return ()
    return tuple(dict.fromkeys([knob.everything, knob.default, (knob.least + knob.most) / 2]))


def quantize(
    trained: Trained,
    export: Export,
    quantizations: Sequence[str],
    images: np.ndarray | None = None,
    thresholds: Sequence[float] | None = None,
    progress: Progress = silent,
    *,
    batches: Iterable[np.ndarray] = (),
    fine_tuning: FineTuning = DEFAULT,
    seed: int = 0,
) -> Export:
    """Adds files to an export. What is there afterwards is whole, or as it was before.

    Args:
        trained: the model that was exported.
        quantizations: of `QUANTIZATIONS`; files of an earlier call are replaced.
        images: to calibrate int8 and int8_qat with, float32 [images, image_size, image_size, 3]
            in 0..255, of the training split.
        thresholds: to calibrate and to fine-tune with; None for `calibration_thresholds`.
        batches: to fine-tune with, see `fine_tune`.
        fine_tuning: how, for int8_qat.
        seed: from which the images and the batches were drawn, for model.json.

    Returns:
        The export with the files.

    Raises:
        UserError: there is no such quantization, it cannot be made of this model, or there are no
            images where they are needed.
    """
    quantizations = parse_quantizations(quantizations)
    if INT8_QAT in quantizations:
        check_tunable(trained.run)
    calibrated = set(quantizations) & set(CALIBRATED)
    pixels = np.zeros(0) if images is None else images
    if calibrated:
        pixels = export.check_images(pixels, "images to calibrate with")
    if thresholds is None:
        thresholds = calibration_thresholds(trained.run.family.knob)
    model, plan = export.tflite.read_bytes(), export.plan()
    graph = graph_of(trained.model)
    ranges = tensor_ranges(model, pixels, thresholds, progress) if calibrated else {}

    def tuned() -> bytes:
        assert isinstance(graph, DRNetGraph)  # check_tunable has refused others
        pupil = fine_tune(graph, model, ranges, batches, fine_tuning, thresholds, progress)
        of_tuned = to_tflite(pupil, plan)
        return quantize_int8(of_tuned, tensor_ranges(of_tuned, pixels, thresholds, progress))

    make = {
        FLOAT16: lambda: to_tflite(graph, plan, float16=True),
        WEIGHT_INT8: lambda: quantize_weights(model),
        INT8: lambda: quantize_int8(model, ranges),
        INT8_QAT: tuned,
    }
    files = {}
    for done, kind in enumerate(quantizations):
        progress(done, len(quantizations), f"making {kind}")
        files[kind] = finish(make[kind]())
    facts: dict[str, Any] = {}
    if calibrated:
        facts["calibration"] = {
            "split": "train",
            "images": len(pixels),
            "seed": seed,
            "thresholds": list(thresholds) or None,
        }
    if INT8_QAT in files:
        facts["fine_tuning"] = dataclasses.asdict(fine_tuning) | {"seed": seed}
    return export.add_tflite(files, facts)
