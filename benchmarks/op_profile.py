"""Finds where the time of our training step goes, by the profiler of TensorFlow.

On one thread, so that the time from an operation's begin to its end is what it took of the CPU.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

from rich.table import Table

from drnet_tf.evaluation.tables import cells_table
from drnet_tf.progress import Progress, silent

SHOWN = 25
BUSY = 0.95  # CPU time to the time of operations, below which others took part of it


@dataclasses.dataclass(frozen=True)
class Event:
    """Holds an operation's run, in picoseconds; `line` is the thread."""

    kind: str
    line: int
    begin: int
    length: int


def profile(settings: dict[str, Any], steps: int, progress: Progress = silent) -> dict[str, Any]:
    """Profiles some training steps in this process, which must not have used TensorFlow yet.

    Args:
        settings: `model`, `batch_size` and `threads`.
        steps: to profile, after the first two.

    Returns:
        `operations`: for each kind `seconds` and `calls` per step, the slowest first;
        `seconds` of a step, all operations together; `cpu_seconds` that a step took of the
        process, which is less where other processes held the operations up; `graph_nodes` of the
        traced function with all functions that it calls; `tensorflow`, its version.
    """
    from benchmarks.keras_child import make_step

    step, trace = make_step(settings)
    import tensorflow as tf

    total = steps + 2
    progress(0, total, "tracing")
    graph = trace().graph.as_graph_def()
    nodes = len(graph.node) + sum(len(function.node_def) for function in graph.library.function)
    for done in range(2):  # the first ones choose kernels and fill the allocator
        step()["loss"].numpy()
        progress(done + 1, total, "not profiled")

    def run() -> None:
        for done in range(steps):
            step()["loss"].numpy()
            progress(done + 3, total, "profiled")

    cpu = time.process_time()
    content = record(run)
    cpu = time.process_time() - cpu
    times = own_times(read_events(content))
    operations = {
        kind: {"seconds": picoseconds / 1e12 / steps, "calls": calls / steps}
        for kind, (picoseconds, calls) in sorted(times.items(), key=lambda item: -item[1][0])
    }
    return {
        "operations": operations,
        "seconds": sum(values["seconds"] for values in operations.values()),
        "cpu_seconds": cpu / steps,
        "graph_nodes": nodes,
        "tensorflow": {"versions": {"tensorflow": tf.__version__}},
    }


def record(run: Callable[[], None]) -> bytes:
    """Runs something under the profiler; returns the profiler's file, a serialized XSpace."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(
            host_tracer_level=2, python_tracer_level=0, device_tracer_level=0
        )
        tf.profiler.experimental.start(folder, options)
        run()
        tf.profiler.experimental.stop()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        return path.read_bytes()


def read_events(content: bytes) -> list[Event]:
    """Reads the operations in a serialized XSpace."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(content)
    events = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                metadata = plane.event_metadata[event.metadata_id]
                kind = metadata.display_name
                # An operation's event is named "node:Kind"; all others are the runtime's own.
                if kind and metadata.name.endswith(f":{kind}"):
                    begin = 1000 * line.timestamp_ns + event.offset_ps
                    events.append(Event(kind, line.id, begin, event.duration_ps))
    return events


def own_times(events: Iterable[Event]) -> dict[str, tuple[int, int]]:
    """Sums picoseconds without those of operations that ran inside, and counts runs, by kind."""
    times: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    around: list[Event] = []
    for event in sorted(events, key=lambda e: (e.line, e.begin, -e.length)):
        while around and (
            around[-1].line != event.line
            or around[-1].begin + around[-1].length < event.begin + event.length
        ):
            around.pop()
        if around:
            times[around[-1].kind][0] -= event.length
        times[event.kind][0] += event.length
        times[event.kind][1] += 1
        around.append(event)
    return {kind: (picoseconds, calls) for kind, (picoseconds, calls) in times.items()}


def profile_table(report: dict[str, Any]) -> Table:
    """Makes a table of the slowest kinds of operations, and the rest together."""
    caption = None
    if report["cpu_seconds"] < BUSY * report["seconds"]:
        caption = "other processes held operations up: their seconds are too many"
    rows = [(kind, v["seconds"], v["calls"]) for kind, v in report["operations"].items()]
    if len(rows) > SHOWN:
        rest = rows[SHOWN:]
        rows = rows[:SHOWN]
        rows.append((f"{len(rest)} others", sum(r[1] for r in rest), sum(r[2] for r in rest)))
    rows.append(("all", report["seconds"], sum(v["calls"] for v in report["operations"].values())))
    cells = [
        {
            "operation": kind,
            "s": f"{seconds:.3f}",
            "%": f"{100 * seconds / report['seconds']:.1f}",
            "calls": f"{calls:.0f}",
        }
        for kind, seconds, calls in rows
    ]
    title = (
        f"a training step on one thread, {report['cpu_seconds']:.2f} CPU s; "
        f"{report['graph_nodes']} nodes in its graph"
    )
    return cells_table(cells, title, text=["operation"], caption=caption)
