"""Chooses from measured times which branches of a network sit in an IF.

An IF has a price whether its branch runs or not: LiteRT prepares the subgraph anew each time, and
passes the sum on where the branch is skipped. It pays where images select the branch seldom enough:

    p * taken + (1 - p) * skipped < always

where p is the share of images that select it, and the three are measured on this machine, once for
each kind of branch and shape. Connections that read one node share its pools while these always
run; they are gated together or not at all.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
from rich.table import Table

from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table
from drnet_tf.layers.branches import Pool, Skip, find_branch
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.progress import Progress, silent
from export.graphs.drnet.network import Network
from export.graphs.drnet.single_branch import (
    Geometry,
    Place,
    always,
    first_places,
    geometries,
    geometry_cells,
    in_an_if,
    next_to_nothing,
)
from export.graphs.graph import RoutedGraph
from export.graphs.plan import Plan
from export.tflite.timing import TimedGraph, take_turns

CONVOLUTIONS, AUTO = "convolutions", "auto"
GATINGS = (CONVOLUTIONS, AUTO)


@dataclasses.dataclass(frozen=True)
class GateTimes:
    """Holds the microseconds that a branch adds to a graph.

    Args:
        always: without an IF.
        taken: in an IF, selected.
        skipped: in an IF, not selected.
    """

    always: float
    taken: float
    skipped: float

    def expected(self, share: float) -> float:
        """Computes the mean in an IF that this share of images selects."""
        return share * self.taken + (1 - share) * self.skipped


def measure_gates(
    graph: RoutedGraph, seconds: float = 20.0, progress: Progress = silent
) -> dict[Geometry, GateTimes]:
    """Times every kind of branch of a network at every shape, with and without an IF.

    Args:
        graph: as it is converted.
        seconds: how long to time, conversions apart.

    Raises:
        UserError: the graph is not of a DRNet.
    """
    if not isinstance(graph, Network):
        raise UserError("only what branches of a DRNet take in an IF can be measured")
    nothing = TimedGraph(next_to_nothing())
    places = first_places(graph.config)
    graphs: dict[Geometry, list[TimedGraph]] = {}
    for done, (geometry, place) in enumerate(places.items()):
        progress(done, len(places), "converting")
        gate = in_an_if(graph, place)
        graphs[geometry] = [
            TimedGraph(always(graph, place)),
            TimedGraph(gate, taken=True),
            TimedGraph(gate, taken=False),
        ]
    take_turns([nothing, *(g for three in graphs.values() for g in three)], seconds, progress)
    return {
        geometry: GateTimes(*(max(0.0, g.microseconds - nothing.microseconds) for g in three))
        for geometry, three in graphs.items()
    }


def choose_plan(config: DRNetConfig, times: dict[Geometry, GateTimes], use: np.ndarray) -> Plan:
    """Finds the plan of least expected time.

    Args:
        times: of every geometry of the network.
        use: [cells, connections, branches], the share of images that select each branch.
    """
    gates = np.zeros(use.shape, bool)
    of_place = geometries(config)
    for places in _decided_together(config):
        shares = [float(use[place]) for place in places]
        costs = [times[of_place[place]] for place in places]
        gated = sum(cost.expected(share) for cost, share in zip(costs, shares, strict=True))
        weighting = sum(_weighting(config, times, of_place[place]) for place in places[1:])
        if gated < costs[0].always + weighting:
            for place in places:
                gates[place] = True
    return Plan(gated=gates)


def gate_table(times: dict[Geometry, GateTimes]) -> Table:
    """Makes a table with a line for each kind of branch at each shape."""
    rows = [
        geometry_cells(geometry)
        | {name: f"{value:.1f}" for name, value in dataclasses.asdict(cost).items()}
        for geometry, cost in times.items()
    ]
    title = "microseconds of a branch: always run, in an IF and taken, skipped"
    return cells_table(rows, title, text=["branch"])


def _decided_together(config: DRNetConfig) -> list[list[Place]]:
    """Groups places of branches: those of a pool of one node together, every other one alone."""
    groups: dict[tuple, list[Place]] = defaultdict(list)
    for place, (name, *_) in geometries(config).items():
        cell, connection, branch = place
        pool = isinstance(find_branch(name), Pool)
        key = (cell, branch, "node", config.sources[connection]) if pool else place
        groups[key].append(place)
    return list(groups.values())


def _weighting(config: DRNetConfig, times: dict[Geometry, GateTimes], pool: Geometry) -> float:
    """Says what a further reader of a shared pool adds: a weight and an addition, as of a skip."""
    _, channels, stride, height = pool
    for other in config.branches:
        if isinstance(find_branch(other), Skip) and stride == 1:
            return times[other, channels, stride, height].always
    # No skip to compare with. A pool is most of its own cost.
    return times[pool].always / 4
