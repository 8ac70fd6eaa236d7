"""Times an exported model, routed, against the dense graph and the static lower bound.

    python -m export.benchmark --workdir=runs/digits --export_dir=exported/digits --threshold=0.8

LiteRT, one thread, real test images, all graphs in one run, in blocks that take turns; see
export/tflite/timing.py. An image's latency is the median of its invocations; medians and
percentiles of a graph are over images. What loading takes is measured apart:
export/benchmark/footprint.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import rich.console
import rich.table
from absl import flags

from drnet_tf import command_line
from drnet_tf.data.evaluation_images import first_images
from drnet_tf.errors import UserError
from drnet_tf.flags import parse_thresholds
from drnet_tf.progress import ProgressBar
from drnet_tf.writing import check_writable, write_text
from export.benchmark.footprint import footprint_table, measure_footprints
from export.benchmark.latency import BenchmarkResult, benchmark
from export.flags import check_export_flags, define_export_flags, load_exported, open_run_images
from export.graphs.drnet.folding import read_weights
from export.graphs.plan import DENSE
from export.tflite.converter import to_tflite
from export.tflite.timing import BLOCK


def result_table(results: Sequence[BenchmarkResult]) -> rich.table.Table:
    """The results with a line for each threshold."""
    table = rich.table.Table(
        title=f"ms an image, one thread, over {results[0].images} images", title_justify="left"
    )
    statics = any(result.static_ratio for result in results)
    columns = ["T", "MACs/all", "routed", "p90", "p99", "dense", "/ dense"]
    for name in columns + (["static", "/ static"] if statics else []):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        latencies = ("routed_median", "routed_p90", "routed_p99", "dense_median")
        row = [f"{result.threshold:g}", f"{result.macs_ratio:.2f}"]
        row += [f"{getattr(result, f'{name}_ms'):.3f}" for name in latencies]
        row.append(f"{result.ratio:.2f}")
        if result.static_ratio is not None:
            row += [f"{result.static_median_ms:.3f}", f"{result.static_ratio:.2f}"]
        table.add_row(*row)
    return table


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    define_export_flags()
    flags.DEFINE_list("thresholds", "0.8", "Values of T.")
    flags.DEFINE_alias("threshold", "thresholds")
    flags.DEFINE_integer("images", 64, "How many test images to use, the first ones.")
    flags.DEFINE_float("seconds", 10.0, "How long to time, for each threshold.", lower_bound=0.0)
    flags.DEFINE_integer(
        "static_images", 8, "Static graphs to compare with, for each threshold.", lower_bound=0
    )
    flags.DEFINE_string("json", None, "Write the results to this file too.")


def main() -> None:
    values = flags.FLAGS
    check_export_flags()
    thresholds = parse_thresholds(values.thresholds)
    if not math.isfinite(values.seconds):
        raise UserError(f"--seconds must be a number of seconds, not {values.seconds}")
    if values.json:
        check_writable(values.json)
    trained = load_exported()
    images = first_images(open_run_images(trained.run, values.data_dir), "test", values.images)
    with ProgressBar("benchmark") as bar:
        bar.update(0, 1, "converting")
        dense_model = to_tflite(read_weights(trained.model), DENSE)
        results = benchmark(
            trained,
            values.export_dir,
            images,
            thresholds,
            values.seconds,
            values.static_images,
            bar.update,
            dense_model,
        )
        footprints = measure_footprints(values.export_dir, dense_model, images, bar.update)
    console = rich.console.Console()
    console.print(result_table(results))
    console.print(footprint_table(footprints))
    if values.json:
        report = {
            "model": trained.run.model,
            "dataset": trained.run.dataset,
            "step": trained.step,
            "threads": 1,
            "block": BLOCK,
            "results": [result.to_dict() for result in results],
            "footprints": [footprint.to_dict() for footprint in footprints],
        }
        write_text(values.json, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
