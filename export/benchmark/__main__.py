"""Times an exported model, routed, against the dense graph and the static lower bound.

    python -m export.benchmark --workdir=runs/digits --export_dir=exported/digits --threshold=0.8

LiteRT, one thread, real test images, all graphs in one run, in blocks that take turns; see
export/tflite/timing.py. An image's latency is the median of its invocations; medians and
percentiles of a graph are over images. What loading takes is measured apart:
export/benchmark/footprint.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import flags
from rich.table import Table

from drnet_tf import command_line
from drnet_tf.evaluation.tables import cells_table, threshold_text
from drnet_tf.flags import (
    check_json,
    define_json_flag,
    define_thresholds_flag,
    read_thresholds,
    write_result,
)
from drnet_tf.progress import ProgressBar
from export.benchmark.footprint import footprint_table, measure_footprints
from export.benchmark.latency import BenchmarkResult, benchmark
from export.flags import define_export_flags, define_seconds_flag, open_export, open_test_images
from export.graphs.graph import graph_of
from export.graphs.plan import DENSE
from export.tflite.converter import to_tflite
from export.tflite.timing import BLOCK


def result_table(results: Sequence[BenchmarkResult]) -> Table:
    """Makes a table with a line for each threshold."""
    rows = []
    for result in results:
        routes = result.dense_median_ms is not None
        row = {
            "routed" if routes else "median": f"{result.routed_median_ms:.3f}",
            "p90": f"{result.routed_p90_ms:.3f}",
            "p99": f"{result.routed_p99_ms:.3f}",
        }
        if routes:
            row = {
                "T": threshold_text(result.threshold),
                "MACs/all": f"{result.macs_ratio:.2f}",
                **row,
                "dense": f"{result.dense_median_ms:.3f}",
                "/ dense": f"{result.ratio:.2f}",
            }
        if result.static_ratio is not None:
            row["static"] = f"{result.static_median_ms:.3f}"
            row["/ static"] = f"{result.static_ratio:.2f}"
        rows.append(row)
    return cells_table(rows, f"ms per image, one thread, over {results[0].images} images")


def define_flags() -> None:
    define_export_flags()
    define_thresholds_flag()
    flags.DEFINE_integer("images", 64, "How many test images to use, the first ones.")
    define_seconds_flag(10.0, "How long to time, for each threshold.")
    flags.DEFINE_integer(
        "static_images", 8, "Static graphs to compare with, for each threshold.", lower_bound=0
    )
    define_json_flag()


def main() -> None:
    values = flags.FLAGS
    check_json()
    trained, export = open_export()
    knob = trained.run.family.knob
    thresholds = read_thresholds(trained.run.family, ("default",))
    images = open_test_images(trained)
    with ProgressBar("benchmark") as bar:
        dense_model = None
        if knob is not None:
            bar.update(0, 1, "converting")
            dense_model = to_tflite(graph_of(trained.model), DENSE)
        results = benchmark(
            trained,
            export,
            images,
            thresholds,
            values.seconds,
            values.static_images,
            bar.update,
            dense_model,
        )
        footprints = measure_footprints(export, dense_model, images, bar.update)
    command_line.show(result_table(results), footprint_table(footprints))
    write_result(
        trained,
        {
            "threads": 1,
            "block": BLOCK,
            "results": [dataclasses.asdict(result) for result in results],
            "footprints": [dataclasses.asdict(footprint) for footprint in footprints],
        },
    )


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
