"""Measures what each branch of a network takes on this machine, for training with its latency.

    python -m export.latency_table --model=drnet_s.cifar10 --output=latency.json
    python -m drnet_tf.train --resource=latency --latency_table=latency.json ...

LiteRT, one thread, float32, one image. Every kind of branch at every shape that the network has is
a .tflite of its own and is measured once; blocks of invocations take turns, as in
`export.benchmark`. A latency is the median of a graph's invocations, in CPU time of its one thread,
less that of a graph with next to nothing in it. It holds the branch's ReLU, and its weighting and
addition to the node, which are skipped with it. Weights are random: no latency depends on them.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from typing import Any

import numpy as np
from absl import flags
from rich.table import Table

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table
from drnet_tf.machine import machine_facts
from drnet_tf.models import build_from_config
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.latencies import LatencyTable
from drnet_tf.models.registry import family_of
from drnet_tf.progress import Progress, ProgressBar, silent
from drnet_tf.runs.workdir import Run
from drnet_tf.training_flags import config_from_flags, define_model_flags
from drnet_tf.writing import check_writable, write_text
from export.flags import define_seconds_flag, require_tensorflow
from export.graphs.drnet.single_branch import (
    Geometry,
    always,
    first_places,
    geometries,
    geometry_cells,
    next_to_nothing,
)
from export.graphs.graph import graph_of
from export.graphs.plan import only
from export.tflite.converter import to_tflite
from export.tflite.timing import TimedGraph, take_turns

_PACKAGES = ("ai-edge-litert", "tensorflow")


def measure(
    config: DRNetConfig, seconds: float = 20.0, progress: Progress = silent
) -> LatencyTable:
    """Measures a network.

    The fixed part is what a graph takes that holds the cheapest branch of every connection, less
    these branches.

    Args:
        seconds: how long to time, conversions apart.

    Raises:
        UserError: a branch is unknown.
    """
    try:
        model = build_from_config(config)
    except ValueError as error:
        raise UserError(str(error)) from error
    graph: Any = graph_of(model)
    macs = model.cost.unit_macs
    places = first_places(config)
    graphs: dict[Geometry, TimedGraph] = {}
    for done, (geometry, place) in enumerate(places.items()):
        progress(done, len(places) + 1, "converting")
        graphs[geometry] = TimedGraph(always(graph, place))
    progress(len(places), len(places) + 1, "converting")
    cheapest = macs == macs.min(axis=-1, keepdims=True)
    cheapest &= np.cumsum(cheapest, axis=-1) == 1  # the first of equals
    nothing = TimedGraph(next_to_nothing())
    whole = TimedGraph(to_tflite(graph, only(cheapest)))
    take_turns([nothing, whole, *graphs.values()], seconds, progress)

    branches = np.zeros(macs.shape)
    for place, geometry in geometries(config).items():
        branches[place] = max(0.0, graphs[geometry].microseconds - nothing.microseconds)
    return LatencyTable(
        config,
        branches,
        whole.microseconds - nothing.microseconds - float(branches[cheapest].sum()),
        _facts(seconds),
    )


def _facts(seconds: float) -> dict:
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "runtime": "LiteRT, one thread, float32, one image",
        "machine": machine_facts(),
        "versions": versions,
        "seconds_timed": seconds,
    }


def latency_lines(table: LatencyTable) -> Table:
    """Makes a table with a line for each geometry of each branch."""
    rows = [
        geometry_cells(geometry) | {"us": f"{table.units[place]:.1f}"}
        for geometry, place in first_places(table.config).items()
    ]
    title = f"microseconds, one thread; fixed part {table.fixed:.0f}"
    return cells_table(rows, title, text=["branch"])


def define_flags() -> None:
    define_model_flags()
    flags.DEFINE_string("workdir", None, "Instead of a model: the one of this training run.")
    flags.DEFINE_string("output", None, "JSON file to write.")
    define_seconds_flag(20.0)


def main() -> None:
    values = flags.FLAGS
    if bool(values.workdir) == bool(values.model):
        raise UserError("needed is either --model or --workdir, a training run")
    if not values.output:
        raise UserError("--output is needed, the JSON file to write")
    check_writable(values.output)
    require_tensorflow()
    config = Run.load(values.workdir).config if values.workdir else config_from_flags()
    family = family_of(config)
    if "latency" not in family.resources:
        raise UserError(f"models of the family {family.name} have no branches to measure")
    with ProgressBar("latencies") as bar:
        table = measure(config, values.seconds, bar.update)
    command_line.show(latency_lines(table))
    write_text(values.output, json.dumps(table.to_dict(), indent=2) + "\n")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
