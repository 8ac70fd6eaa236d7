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

from drnet_tf.models.cost import CostTable
from drnet_tf.models.family import Knob
from drnet_tf.runs.workdir import Trained
from export.folder.names import FLOAT32, TFLITE_FILE
from export.graphs.graph import RoutedGraph
from export.graphs.plan import Plan

FORMAT = "drnet-tf export"
FORMAT_VERSION = 1
#: Of model.json, which the schema describes.
SCHEMA_VERSION = 2
_SCHEMA_FILE = pathlib.Path(__file__).with_name("model_schema.json")
_PACKAGES = ("ai-edge-litert", "keras", "numpy", "tensorflow")


def describe(
    trained: Trained,
    class_names: Sequence[str],
    folder: pathlib.Path,
    operators: dict[str, int],
    graph: RoutedGraph,
    plan: Plan,
    knob: Knob | None,
    serving: dict[str, Any],
) -> dict[str, Any]:
    """Writes the content of model.json for an export whose other files are in `folder`.

    Args:
        operators: how often each operator occurs in the .tflite.
        graph, plan: what it was made from, and how it runs the units.
        knob: the family's, with the default that the SavedModel has; None where nothing routes.
        serving: what the signatures of the SavedModel do.
    """
    config, cost = trained.model.config, trained.model.cost
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "schema_version": SCHEMA_VERSION,
        "family": trained.run.family.name,
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
        "knob": knob and knob.to_dict(),
        "units": _units(cost, graph.unit_names),
        "gates": _gates(plan, cost.units) if graph.routed else None,
        "serving": serving,
        "macs": {"fixed": cost.fixed.macs, "total": cost.total.macs},
        **graph.facts(plan),
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


def _units(cost: CostTable, names: Sequence[str]) -> dict[str, Any]:
    # A table that counts in its own way has costs that do not add up.
    additive = type(cost).of_selection is CostTable.of_selection
    return {
        "shape": list(cost.units),
        "names": list(names),
        "macs": cost.unit_macs.tolist() if additive and cost.units else None,
        "additive": additive,
    }


def _gates(plan: Plan, units: tuple[int, ...]) -> list:
    gated = np.zeros(units) if plan.gated is None else np.asarray(plan.gated)
    return gated.astype(int).tolist()


def describe_file(content: pathlib.Path | bytes) -> dict[str, Any]:
    """Returns what model.json says of a file, given its path or its content."""
    if isinstance(content, bytes):
        return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {"sha256": sha256(content), "bytes": content.stat().st_size}


def sha256(path: pathlib.Path) -> str:
    """Computes the checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def schema() -> dict[str, Any]:
    """Reads the schema of model.json."""
    return json.loads(_SCHEMA_FILE.read_text())
