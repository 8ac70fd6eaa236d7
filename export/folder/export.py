"""The folder of an export, opened and checked once.

model.tflite     classifies one image and skips the units that it does not need
model_*.tflite   the same, smaller: one for each quantization that was made (export/quantize)
model_static.tflite    on request: the same units for all images, no IF; for GPUs and NPUs
saved_model/1/   classifies batches, for TF Serving
models.config    for TF Serving, as is batching.config; see export/folder/serving_files.py
labels.txt       the class names, one per line
model.json       where the model comes from, what it takes and gives, what its units cost; its
                 names are described in model_schema.json, beside this file
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from drnet_tf.models.family import Family
from drnet_tf.models.registry import FAMILIES
from drnet_tf.runs.workdir import Trained
from drnet_tf.writing import replacing
from export.folder import names
from export.folder.description import FORMAT, SCHEMA_VERSION, describe_file, schema, sha256
from export.folder.json_schema import violations
from export.graphs.plan import DENSE, Plan

_AGAIN = "export the model again, with python -m export.convert"


@dataclasses.dataclass(frozen=True, eq=False)
class Export:
    """Gives access to an export whose files were checked; `open` makes it.

    Args:
        folder: that it is in.
        description: the content of its model.json, which fits the schema.
    """

    folder: pathlib.Path
    description: dict[str, Any]

    @classmethod
    def open(cls, folder: pathlib.Path | str, trained: Trained | None = None) -> Export:
        """Opens a folder: reads model.json, and compares every file with its checksum.

        That is before a .tflite file is loaded: a damaged one can end the process.

        Args:
            trained: the model that it must be an export of; None where any will do.

        Raises:
            UserError: it is no export, it is damaged or of an earlier version, a file is missing
                or has changed since the export, or it is of another model.
        """
        export = cls(pathlib.Path(folder), read_description(folder))
        export._check_files()
        if trained is not None:
            export.check_source(trained)
        return export

    @property
    def class_names(self) -> tuple[str, ...]:
        """Returns the names of the classes, in order."""
        return tuple(self.description["class_names"])

    @property
    def image_size(self) -> int:
        """Returns the height and width of an image."""
        return self.description["input"]["shape"][1]

    @property
    def fit(self) -> Fit:
        """Returns how image files are brought to the model's size."""
        return Fit(self.description["serving"]["encoded_images"])

    @property
    def knob(self) -> dict[str, Any] | None:
        """Returns what model.json says of the knob; None where nothing routes."""
        return self.description["knob"]

    @property
    def default_threshold(self) -> float | None:
        """Returns the knob's value in the signatures of the SavedModel that take none."""
        return None if self.knob is None else self.knob["default"]

    @functools.cached_property
    def family(self) -> Family:
        """Returns the family of the model.

        Raises:
            UserError: this version of the project has none of that name.
        """
        name = self.description["family"]
        if name not in FAMILIES:
            raise UserError(f"{self.folder} is of the family {name}, which is not known here")
        return FAMILIES[name]

    @property
    def units(self) -> tuple[int, ...]:
        """Returns the shape of what an image can skip; () where nothing routes."""
        return tuple(self.description["units"]["shape"])

    @property
    def files(self) -> dict[str, pathlib.Path]:
        """Returns the .tflite files that do the same, by their quantization, "float32" first."""
        return {kind: self.folder / name for kind, name in self.description["tflite"].items()}

    @property
    def tflite(self) -> pathlib.Path:
        """Returns model.tflite, without quantization."""
        return self.files[names.FLOAT32]

    @property
    def fixed_file(self) -> pathlib.Path | None:
        """Returns model_static.tflite, if there is one."""
        listed = names.STATIC_FILE in self.description["files"]
        return self.folder / names.STATIC_FILE if listed else None

    @property
    def saved_model(self) -> pathlib.Path:
        """Returns the folder of the SavedModel."""
        return names.saved_model_path(self.folder)

    def plan(self) -> Plan:
        """Returns how model.tflite runs the units of its graph.

        Raises:
            UserError: model.json does not say so for its units.
        """
        if self.knob is None:
            return DENSE
        try:
            gated = np.array(self.description["gates"], bool)
        except ValueError:
            gated = np.zeros(0, bool)
        if gated.shape != self.units:
            path = self.folder / names.DESCRIPTION_FILE
            raise UserError(f"{path} is damaged: gates are not of the shape of units; {_AGAIN}")
        return Plan(gated=gated)

    def check_source(self, trained: Trained) -> None:
        """Raises a UserError unless the export was made from this model at this step."""
        values = self.description
        if values["config"] != trained.model.config.to_dict():
            raise UserError(f"{self.folder} is an export of another model, {values['model']}")
        if values["step"] != trained.step:
            raise UserError(
                f"{self.folder} was exported at step {values['step']} but the latest checkpoint is "
                f"of step {trained.step}: export the model again"
            )
        if values["checkpoint_sha256"] != sha256(trained.checkpoint):
            raise UserError(f"{self.folder} was exported from another run: export the model again")

    def check_images(self, images: Any, what: str = "images") -> np.ndarray:
        """Returns images as float32 that are of the model's size.

        Raises:
            UserError: they are not [images, image_size, image_size, 3], or there are none.
        """
        size, shape = self.image_size, np.shape(images)
        if len(shape) != 4 or shape[1:] != (size, size, 3) or not shape[0]:
            raise UserError(f"{what} must be [images, {size}, {size}, 3], not {list(shape)}")
        return np.asarray(images, np.float32)

    def add_tflite(
        self, kinds: Mapping[str, bytes], facts: Mapping[str, Any] | None = None
    ) -> Export:
        """Adds .tflite files. What is there afterwards is whole, or as it was before.

        Args:
            kinds: content by quantization; files of the same quantization are replaced.
            facts: to add to model.json.

        Returns:
            The export with these files.
        """
        description = self.description | dict(facts or {})
        added = {kind: names.quantized_file(kind) for kind in kinds}
        description["tflite"] = description["tflite"] | added
        description["files"] = description["files"] | {
            added[kind]: describe_file(content) for kind, content in kinds.items()
        }
        with replacing(self.folder) as folder:
            try:
                shutil.copytree(self.folder, folder)
            except shutil.Error as error:
                # Of a list of all files that could not be copied, the first.
                raise OSError(error.args[0][0][2]) from error
            for kind, content in kinds.items():
                (folder / added[kind]).write_bytes(content)
            write_description(folder, description)
        return Export(self.folder, description)

    def _check_files(self) -> None:
        files = self.description["files"]
        for name in self.description["tflite"].values():
            if name not in files:
                path = self.folder / names.DESCRIPTION_FILE
                raise UserError(f"{path} has no checksum of {name}: export the model again")
        for name, expected in files.items():
            path = self.folder / name
            if not path.is_file():
                raise UserError(f"{self.folder} lacks {name}: export the model again")
            if sha256(path) != expected["sha256"]:
                raise UserError(
                    f"{path} is not the file that was exported (its sha256 differs from the one in "
                    f"{names.DESCRIPTION_FILE}): export the model again"
                )


def read_description(folder: pathlib.Path | str) -> dict[str, Any]:
    """Reads an export's model.json, which must fit its schema; the other files may be damaged.

    Raises:
        UserError: the folder is no export, or its model.json is damaged or of another version.
    """
    path = pathlib.Path(folder, names.DESCRIPTION_FILE)
    values = _read_any_version(path)
    version = values.get("schema_version")
    if isinstance(version, int) and version < SCHEMA_VERSION:
        raise UserError(f"{folder} was exported by an earlier version of the project: {_AGAIN}")
    if found := violations(values, schema()):
        raise UserError(f"{path} is damaged or of another version: {_AGAIN} ({found[0]})")
    return values


def write_description(folder: pathlib.Path, description: dict[str, Any]) -> None:
    """Writes model.json."""
    text = json.dumps(description, indent=1) + "\n"
    (folder / names.DESCRIPTION_FILE).write_text(text)


def check_replaceable(output: pathlib.Path | str) -> None:
    """Raises a UserError if anything but an export, of any version, would be lost."""
    output = pathlib.Path(output)
    if output.is_dir() and not any(output.iterdir()):
        return
    if output.exists() or output.is_symlink():
        try:
            _read_any_version(output / names.DESCRIPTION_FILE)
        except (UserError, OSError) as error:
            raise UserError(
                f"{output} exists and is no export: give the name of a new folder"
            ) from error


def _read_any_version(path: pathlib.Path) -> dict[str, Any]:
    """Reads a model.json that is one; more is not checked."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} is no export: it has no {path.name}") from error
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{path} does not describe an export of drnet-tf")
    return values
