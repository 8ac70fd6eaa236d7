"""Which branches go into an IF, given times and the shares of images that select them."""

import dataclasses

import numpy as np
import pytest

from drnet_tf.models.drnet.architecture import DRNetConfig
from export.convert.gate_choice import GateTimes, choose_plan, gate_table, measure_gates
from export.graphs.drnet.single_branch import Geometry, geometries
from export.graphs.graph import graph_of
from tests.export.routed_model import CONFIG, model_with_varied_routing

# One cell, every node of which reads both inputs: each pool has two readers a node input.
CELL = DRNetConfig(
    image_size=8, classes=3, cells=1, channels=4, nodes=2, node_inputs=((0, 1), (0, 1))
)

MAX_POOL, _, SEP_3X3, _, SKIP = range(5)


def times_of(config: DRNetConfig, **by_branch: GateTimes) -> dict[Geometry, GateTimes]:
    cheap = GateTimes(always=2, taken=5, skipped=3)
    return {geometry: by_branch.get(geometry[0], cheap) for geometry in geometries(config).values()}


@pytest.mark.parametrize("share, gated", [(0.0, True), (0.5, True), (0.85, False), (1.0, False)])
def test_convolution_is_gated_where_that_takes_less_on_average(share, gated):
    # Gated 24 * share + 3 * (1 - share), which is 21 at a share of 6 / 7.
    times = times_of(CELL, sep_conv_3x3=GateTimes(always=20, taken=24, skipped=3))
    use = np.full((1, 4, 5), 0.5)
    use[..., SEP_3X3] = share
    plan = choose_plan(CELL, times, use)
    assert plan.gated[..., SEP_3X3].all() == gated
    assert plan.gated[..., SEP_3X3].any() == gated


def test_branch_that_costs_less_than_its_if_is_never_gated():
    plan = choose_plan(CELL, times_of(CELL), np.zeros((1, 4, 5)))
    assert not plan.any_gated


def test_shared_pool_is_gated_for_all_of_its_readers_or_for_none():
    times = times_of(CELL, max_pool_3x3=GateTimes(always=12, taken=14, skipped=3))
    use = np.zeros((1, 4, 5))
    # Alone, a reader would gate it: 3 < 12. Shared, it takes 12 + 2, and gated 3 + 14 > 14.
    use[0, 0, MAX_POOL] = 1
    gates = choose_plan(CELL, times, use).gated
    # Connections 0 and 2 read input 0; of input 1 nobody selects the pool: 3 + 3 < 12 + 2.
    np.testing.assert_array_equal(gates[0, :, MAX_POOL], [False, True, False, True])


def test_every_geometry_is_measured_with_and_without_an_if():
    config = dataclasses.replace(CONFIG, cells=1)
    steps = []
    times = measure_gates(
        graph_of(model_with_varied_routing(config)),
        seconds=0.0,
        progress=lambda *step: steps.append(step),
    )
    assert set(times) == set(geometries(config).values())
    assert steps[-1][0] == steps[-1][1]
    assert gate_table(times).row_count == len(times)
    # A branch that runs in an IF takes longer than one that is skipped.
    convolution = next(times[g] for g in times if g[0] == "sep_conv_5x5")
    assert convolution.taken > convolution.skipped >= 0
