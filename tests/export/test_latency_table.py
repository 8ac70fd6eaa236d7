"""The measured table has the structure of the network."""

import json

import numpy as np

from drnet_tf.models.latencies import LatencyTable
from export.graphs.drnet.single_branch import geometries
from export.latency_table import latency_lines, measure
from tests.export.routed_model import CONFIG


def test_every_branch_has_the_latency_of_its_geometry(tmp_path):
    steps = []
    table = measure(CONFIG, seconds=0.0, progress=lambda *step: steps.append(step))
    assert steps[-1][0] == steps[-1][1]
    assert table.units.shape == (CONFIG.cells, CONFIG.connections, len(CONFIG.branches))
    latencies = {}
    for place, geometry in geometries(CONFIG).items():
        assert latencies.setdefault(geometry, table.units[place]) == table.units[place]
    assert latency_lines(table).row_count == len(latencies)
    path = tmp_path / "latency.json"
    path.write_text(json.dumps(table.to_dict()))
    again = LatencyTable.read(path, CONFIG)
    np.testing.assert_array_equal(again.units, table.units)
    assert again.facts == table.facts
    assert {"date", "machine", "versions", "runtime"} <= table.facts.keys()


def test_geometries_are_those_of_the_cells():
    # A normal cell of 16 x 16, then two reduction cells; the last node reads the one before it.
    of_place, connections = geometries(CONFIG), range(CONFIG.connections)
    rows = [[of_place[cell, c, 0] for c in connections] for cell in range(CONFIG.cells)]
    strides = [[geometry[2] for geometry in row] for row in rows]
    heights = [[geometry[3] for geometry in row] for row in rows]
    channels = [{geometry[1] for geometry in row} for row in rows]
    reads_a_node = [source >= 2 for pair in CONFIG.node_inputs for source in pair]
    assert strides[0] == [1] * CONFIG.connections and heights[0] == [16] * CONFIG.connections
    assert strides[1] == [1 if later else 2 for later in reads_a_node]
    assert heights[2] == [4 if later else 8 for later in reads_a_node]
    assert channels == [{4}, {8}, {16}]
