"""Describes an export: the content of model.json."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from drnet_tf.runs.workdir import Trained
from export.folder.names import FLOAT32, TFLITE_FILE
from export.graphs.plan import Structure, gated_branches

FORMAT = "drnet-tf export"
FORMAT_VERSION = 1
#: Of model.json, which the schema describes.
SCHEMA_VERSION = 1
_SCHEMA_FILE = pathlib.Path(__file__).with_name("model_schema.json")
_PACKAGES = ("ai-edge-litert", "keras", "numpy", "tensorflow")


def describe(
    trained: Trained,
    class_names: Sequence[str],
    folder: pathlib.Path,
    operators: dict[str, int],
    structure: Structure,
    serving: dict[str, Any],
) -> dict[str, Any]:
    """The content of model.json for an export whose other files are in `folder`.

    Args:
        operators: how often each operator occurs in the .tflite.
        structure: how it runs the branches.
        serving: what the signatures of the SavedModel do.
    """
    config, cost = trained.model.config, trained.model.cost
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "schema_version": SCHEMA_VERSION,
        "model": trained.run.model,
        "dataset": trained.run.dataset,
        "checkpoint": trained.checkpoint.name,
        "checkpoint_sha256": sha256(trained.checkpoint),
        "step": trained.step,
        "config": config.to_dict(),
        "input": {
            "shape": [1, config.image_size, config.image_size, 3],
            "range": [0, 255],
            "color": "RGB",
            "normalization": {
                "in_graph": True,
                "mean": list(config.mean),
                "deviation": list(config.deviation),
            },
        },
        "class_names": list(class_names),
        "serving": serving,
        "branch_names": list(config.branches),
        "gated_branches": list(gated_branches(config, structure)),
        "gates": np.asarray(structure.gates, int).tolist(),
        "cells": config.cells,
        "connections": config.connections,
        "temperature": float(trained.model.temperature.numpy()),
        "macs": {
            "fixed": cost.fixed.macs,
            "branches": cost.branch_macs.tolist(),
            "total": cost.total.macs,
        },
        "parameters": cost.total.params,
        "operators": dict(sorted(operators.items())),
        "tflite": {FLOAT32: TFLITE_FILE},
        "files": {
            path.relative_to(folder).as_posix(): describe_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def describe_file(path: pathlib.Path) -> dict[str, Any]:
    """What model.json says of a file."""
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _schema() -> dict[str, Any]:
    return json.loads(_SCHEMA_FILE.read_text())
