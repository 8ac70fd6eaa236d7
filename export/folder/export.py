"""The folder of an export: what its files are called, and its description.

model.tflite     classifies one image and skips the branches that it does not need
model_*.tflite   the same, smaller: one for each quantization that was made (export/quantize)
model_static.tflite    on request: the same branches for all images, no IF; for GPUs and NPUs
saved_model/1/   classifies batches, for TF Serving
models.config    for TF Serving, as is batching.config; see export/saved_model/serving_files.py
labels.txt       the class names, one a line
model.json       where the model comes from, what it takes and gives, what its branches cost; its
                 names are described in model_schema.json, beside this file
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.runs.workdir import Trained
from export.folder.description import FORMAT, _schema, sha256
from export.folder.json_schema import violations
from export.folder.names import DESCRIPTION_FILE, WHOLE
from export.graphs.plan import Structure


def read_structure(export_dir: pathlib.Path | str) -> Structure:
    """How model.tflite of an export runs its branches.

    Raises:
        UserError: the folder is no export.
    """
    return Structure(gates=np.array(read_description(export_dir)["gates"], bool))


def tflite_files(export_dir: pathlib.Path | str) -> dict[str, pathlib.Path]:
    """The .tflite files of an export by their quantization, "float32" first.

    Raises:
        UserError: the folder is no export.
    """
    names = read_description(export_dir)["tflite"]
    return {kind: pathlib.Path(export_dir, name) for kind, name in names.items()}


def read_description(export_dir: pathlib.Path | str) -> dict[str, Any]:
    """The content of an export's model.json, which fits its schema.

    Raises:
        UserError: the folder is no export, or its model.json is damaged.
    """
    path = pathlib.Path(export_dir, DESCRIPTION_FILE)
    values = _read_any_version(path)
    if found := violations(values, _schema()):
        raise UserError(
            f"{path} is damaged or of an earlier version: export the model again ({found[0]})"
        )
    return values


def _read_any_version(path: pathlib.Path) -> dict[str, Any]:
    """The content of a model.json that is one; more is not checked."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} is no export: it has no {DESCRIPTION_FILE}") from error
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{path} does not describe an export of drnet-tf")
    return values


def resizes_whole(description: dict[str, Any]) -> bool:
    """Whether image files are resized whole for the model with this model.json."""
    return description["serving"]["encoded_images"] == WHOLE


def default_threshold(export_dir: pathlib.Path | str) -> float:
    """T of the SavedModel's signatures that take none.

    Raises:
        UserError: the folder is no export.
    """
    return read_description(export_dir)["serving"]["default_threshold"]


def check_files(export_dir: pathlib.Path | str) -> None:
    """Compares every file of an export with its checksum.

    Before a .tflite file is loaded: a damaged one can end the process.

    Raises:
        UserError: a file is missing or has changed since the export.
    """
    description = read_description(export_dir)
    files = description["files"]
    if unlisted := [name for name in description["tflite"].values() if name not in files]:
        raise UserError(
            f"{pathlib.Path(export_dir, DESCRIPTION_FILE)} has no checksum of {unlisted[0]}: "
            "export the model again"
        )
    for name, expected in files.items():
        path = pathlib.Path(export_dir, name)
        if not path.is_file():
            raise UserError(f"{export_dir} lacks {name}: export the model again")
        if sha256(path) != expected["sha256"]:
            raise UserError(
                f"{path} is not the file that was exported (its sha256 differs from the one in "
                f"{DESCRIPTION_FILE}): export the model again"
            )


def check_source(export_dir: pathlib.Path | str, trained: Trained) -> None:
    """Checks that an export was made from this model.

    Raises:
        UserError: it was made from another one, or from another step of its training.
    """
    values = read_description(export_dir)
    if values["config"] != trained.model.config.to_dict():
        raise UserError(f"{export_dir} is an export of another model, {values['model']}")
    if values["step"] != trained.step:
        raise UserError(
            f"{export_dir} was exported at step {values['step']} but the latest checkpoint is of "
            f"step {trained.step}: export the model again"
        )
    if values["checkpoint_sha256"] != sha256(trained.checkpoint):
        raise UserError(f"{export_dir} was exported from another run: export the model again")


def check_replaceable(output: pathlib.Path | str) -> None:
    """Checks that nothing but an older export would be lost.

    Raises:
        UserError: there is something else.
    """
    output = pathlib.Path(output)
    if output.is_dir() and not any(output.iterdir()):
        return
    if output.exists() or output.is_symlink():
        try:
            _read_any_version(output / DESCRIPTION_FILE)
        except (UserError, OSError) as error:
            raise UserError(
                f"{output} exists and is no export: give the name of a new folder"
            ) from error
