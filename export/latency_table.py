"""Measures what each branch of a network takes on this machine, for training with its latency.

    python -m export.latency_table --model=drnet_s.cifar10 --output=latency.json
    python -m drnet_tf.train --resource=latency --latency_table=latency.json ...

LiteRT, one thread, float32, one image. Every kind of branch at every shape that the network has is
a .tflite of its own and is measured once; blocks of invocations take turns, as in
`export.benchmark`. A latency is the median of a graph's invocations less that of a graph with
next to nothing in it, and holds the branch's ReLU. The weights are random, as no latency depends on
them.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import time
from collections.abc import Callable

import numpy as np
import rich.console
import rich.table
import tensorflow as tf
from absl import flags
from ai_edge_litert.interpreter import Interpreter

from drnet_tf import command_line
from drnet_tf.architecture import DRNetConfig
from drnet_tf.cost import cost_table
from drnet_tf.errors import UserError
from drnet_tf.layers.branches import Skip, find_branch, is_parameter_free
from drnet_tf.machine import machine_facts
from drnet_tf.models import build_from_config
from drnet_tf.progress import ProgressBar
from drnet_tf.train import config_from_flags, define_model_flags
from drnet_tf.training.latency_table import LatencyTable
from drnet_tf.training.workdir import Run
from drnet_tf.writing import check_writable, write_text
from export.routed_graph import branch_alone
from export.run_data import require_tensorflow
from export.structure import static
from export.tflite import to_tflite
from export.weights import Network, read_weights

BLOCK = 32
UNTIMED = 3
LEAST_ROUNDS = 5
_PACKAGES = ("ai-edge-litert", "tensorflow")

#: Name of the branch, channels, stride, height of its input.
Geometry = tuple[str, int, int, int]


def geometries(config: DRNetConfig) -> list[list[list[Geometry]]]:
    """The geometry of every branch, [cells][connections][branches]."""
    return [
        [
            [
                (
                    name,
                    cell.channels,
                    cell.stride(source),
                    cell.size if source < 2 else cell.output_size,
                )
                for name in config.branches
            ]
            for pair in config.node_inputs
            for source in pair
        ]
        for cell in config.cell_geometry
    ]


def measure(
    config: DRNetConfig,
    seconds: float = 20.0,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> LatencyTable:
    """Measures a network.

    The fixed part is what a graph takes that holds the cheapest branch of every connection, less
    these branches; a pool or skip that several connections share is in it once.

    Args:
        seconds: how long to time, conversions apart.
        progress: called with the steps done, their number, and what is being done.

    Raises:
        UserError: a branch is unknown.
    """
    try:
        macs = cost_table(config).branch_macs
    except ValueError as error:
        raise UserError(str(error)) from error
    network = read_weights(build_from_config(config))
    table = geometries(config)
    places: dict[Geometry, tuple[int, int, int]] = {}
    for place in np.ndindex(*macs.shape):
        cell, connection, branch = place
        places.setdefault(table[cell][connection][branch], place)
    graphs: dict[Geometry, _Graph] = {}
    for done, (geometry, place) in enumerate(places.items()):
        progress(done, len(places) + 1, "converting")
        if not _is_identity(geometry):
            graphs[geometry] = _Graph(_convert_branch(network, place, geometry))
    progress(len(places), len(places) + 1, "converting")
    cheapest = macs == macs.min(axis=-1, keepdims=True)
    cheapest &= np.cumsum(cheapest, axis=-1) == 1  # the first of equals
    nothing = _Graph(_convert(lambda x: x + 1.0, (1, 1, 1, 1)))
    whole = _Graph(to_tflite(network, static(cheapest)))
    _take_turns([nothing, whole, *graphs.values()], seconds, progress)

    def latency(geometry: Geometry) -> float:
        if geometry not in graphs:
            return 0.0
        return max(0.0, graphs[geometry].microseconds - nothing.microseconds)

    branches = np.array([[[latency(g) for g in row] for row in cell] for cell in table])
    once = cheapest & ~_repeated(config)
    return LatencyTable(
        config,
        branches,
        whole.microseconds - nothing.microseconds - float(branches[once].sum()),
        _facts(seconds),
    )


class _Graph:
    """A .tflite with its inputs set, and the times that it took."""

    def __init__(self, content: bytes):
        self.interpreter = Interpreter(model_content=content, num_threads=1)
        self.interpreter.allocate_tensors()
        generator = np.random.default_rng(0)
        for tensor in self.interpreter.get_input_details():
            values = generator.uniform(0, 1, tensor["shape"]).astype(np.float32)
            self.interpreter.set_tensor(tensor["index"], values)
        self.seconds: list[float] = []

    def run(self) -> None:
        for i in range(-UNTIMED, BLOCK):
            start = time.perf_counter()
            self.interpreter.invoke()
            if i >= 0:
                self.seconds.append(time.perf_counter() - start)

    @property
    def microseconds(self) -> float:
        return 1e6 * float(np.median(self.seconds))


def _convert_branch(network: Network, place: tuple[int, int, int], geometry: Geometry) -> bytes:
    _, channels, _, size = geometry
    return _convert(lambda x: branch_alone(network, *place, x), (1, size, size, channels))


def _convert(function: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...]) -> bytes:
    module = tf.Module()
    signature = [tf.TensorSpec(shape, tf.float32)]
    traced = tf.function(function, autograph=False, input_signature=signature)
    module.call = traced.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([module.call], module).convert()


def _is_identity(geometry: Geometry) -> bool:
    name, _, stride, _ = geometry
    return isinstance(find_branch(name), Skip) and stride == 1


def _repeated(config: DRNetConfig) -> np.ndarray:
    """Bool [cells, connections, branches]: an earlier connection has this pool or skip already."""
    sources = [source for pair in config.node_inputs for source in pair]
    shared = [is_parameter_free(find_branch(name)) for name in config.branches]
    earlier = [source in sources[:connection] for connection, source in enumerate(sources)]
    return np.broadcast_to(
        np.logical_and.outer(earlier, shared), (config.cells, len(sources), len(shared))
    )


def _take_turns(graphs: list[_Graph], seconds: float, progress) -> None:
    start = time.monotonic()
    done, rounds = 0, LEAST_ROUNDS
    while done < rounds:
        for graph in graphs:
            graph.run()
        done += 1
        if done == 1:
            rounds = max(rounds, int(seconds / (time.monotonic() - start)))
        progress(done, rounds, "timing")


def _facts(seconds: float) -> dict:
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "runtime": "LiteRT, one thread, float32, one image",
        "machine": machine_facts(),
        "versions": versions,
        "seconds_timed": seconds,
    }


def latency_lines(table: LatencyTable) -> rich.table.Table:
    """A line for each geometry of each branch."""
    shown = rich.table.Table(
        title=f"microseconds, one thread; fixed part {table.fixed:.0f}", title_justify="left"
    )
    for name in ("branch", "channels", "stride", "height", "us"):
        shown.add_column(name, justify="left" if name == "branch" else "right", no_wrap=True)
    latencies: dict[Geometry, float] = {}
    rows = geometries(table.config)
    for cell, connection, branch in np.ndindex(*table.branches.shape):
        latency = float(table.branches[cell, connection, branch])
        latencies[rows[cell][connection][branch]] = latency
    for geometry, latency in latencies.items():
        shown.add_row(*(str(value) for value in geometry), f"{latency:.1f}")
    return shown


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    define_model_flags()
    flags.DEFINE_string("workdir", None, "Instead of a model: the one of this training run.")
    flags.DEFINE_string("output", None, "JSON file to write.")
    flags.DEFINE_float("seconds", 20.0, "How long to time.", lower_bound=0.0)


def main() -> None:
    values = flags.FLAGS
    if bool(values.workdir) == bool(values.model):
        raise UserError("needed is either --model or --workdir, a training run")
    if not values.output:
        raise UserError("--output is needed, the JSON file to write")
    if not math.isfinite(values.seconds):
        raise UserError(f"--seconds must be a number of seconds, not {values.seconds}")
    check_writable(values.output)
    require_tensorflow()
    config = Run.load(values.workdir).config if values.workdir else config_from_flags()
    with ProgressBar("latencies") as bar:
        table = measure(config, values.seconds, bar.update)
    rich.console.Console().print(latency_lines(table))
    write_text(values.output, json.dumps(table.to_dict(), indent=2) + "\n")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
