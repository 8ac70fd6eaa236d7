"""Times an export beside MobileNetV2, which a user would pick instead.

    python -m benchmarks.inference --workdir=RUN --export_dir=EXPORT --thresholds=0.5,0.8,1

LiteRT, one thread, float32, real test images, in one run, in blocks that take turns; see
export/tflite/timing.py. MobileNetV2 has random weights: no latency depends on them. The graph
without IF runs all units of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from rich.table import Table

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table
from drnet_tf.flags import (
    check_json,
    define_json_flag,
    define_thresholds_flag,
    read_thresholds,
    write_result,
)
from drnet_tf.machine import machine_facts
from drnet_tf.models.registry import build_model
from drnet_tf.models.tasks import TASKS
from drnet_tf.progress import Progress, ProgressBar, silent
from drnet_tf.runs.workdir import Trained
from export.flags import define_export_flags, define_seconds_flag, open_export, open_test_images
from export.folder.export import Export
from export.graphs.graph import graph_of
from export.graphs.plan import DENSE
from export.tflite.converter import to_tflite
from export.tflite.runner import TFLiteRunner
from export.tflite.timing import Block, take_turns

PEER, ALL = "MobileNetV2 1.0x", "all units, no IF"
PEER_MODEL = "mobilenet_v2.cifar10"
IMAGE_SIZE = TASKS["cifar10"].image_size


def compare(
    trained: Trained,
    export: Export,
    images: np.ndarray,
    thresholds: Sequence[float | None],
    seconds: float,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Times the export at each threshold, the dense graph and MobileNetV2.

    Args:
        images: float32 [images, 32, 32, 3] in 0..255.
        thresholds: values of T; (None,) for a model without routing.
        seconds: how long to time, in all.

    Returns:
        For each a row: its `name`, `macs` in millions on average, and over images the `median_ms`,
        `p90_ms`, and `ratio` of medians to MobileNetV2.

    Raises:
        UserError: the model's images are not of 32 x 32.
    """
    if trained.model.config.image_size != IMAGE_SIZE:
        raise UserError(
            f"MobileNetV2 is built for images of {IMAGE_SIZE} x {IMAGE_SIZE}, and the model takes "
            f"{trained.model.config.image_size} x {trained.model.config.image_size}"
        )
    progress(0, 2, "converting")
    model = build_model(PEER_MODEL)
    peer = Block.of(TFLiteRunner(to_tflite(graph_of(model), DENSE)), None, images)
    progress(1, 2, "converting")
    blocks, macs = {PEER: peer}, {PEER: float(model.cost.total.macs)}
    routed = TFLiteRunner(export.tflite)
    if knob := trained.run.family.knob:
        dense = TFLiteRunner(to_tflite(graph_of(trained.model), DENSE))
        blocks[ALL] = Block.of(dense, knob.everything, images)
        macs[ALL] = trained.model.cost.total.macs
    for threshold in thresholds:
        name = trained.run.model if threshold is None else f"routed, T = {threshold:g}"
        outputs = routed.run_all(images, threshold)
        macs[name] = trained.model.cost.total.macs
        if outputs.selected is not None:
            macs[name] = float(trained.model.cost.of_selection(outputs.selected)[1].mean())
        blocks[name] = Block.of(routed, threshold, images)
    take_turns(list(blocks.values()), seconds, progress)
    reference = float(np.median(peer.milliseconds))
    return [
        {
            "name": name,
            "macs": macs[name] / 1e6,
            "median_ms": float(np.median(block.milliseconds)),
            "p90_ms": float(np.percentile(block.milliseconds, 90)),
            "ratio": float(np.median(block.milliseconds)) / reference,
        }
        for name, block in blocks.items()
    ]


def table(rows: Sequence[dict[str, Any]], images: int) -> Table:
    """Makes a table with a line for each row of `compare`."""
    cells = [
        {
            "": row["name"],
            "MACs M": f"{row['macs']:.1f}",
            "ms": f"{row['median_ms']:.3f}",
            "p90": f"{row['p90_ms']:.3f}",
            f"/ {PEER}": f"{row['ratio']:.2f}",
        }
        for row in rows
    ]
    return cells_table(cells, f"one thread, {images} images", text=[""])


def define_flags() -> None:
    define_export_flags()
    define_thresholds_flag()
    flags.DEFINE_integer("images", 64, "How many test images, the first ones.", lower_bound=1)
    define_seconds_flag(30.0)
    define_json_flag()


def main() -> None:
    values = flags.FLAGS
    check_json()
    trained, export = open_export()
    thresholds = read_thresholds(trained.run.family)
    images = open_test_images(trained)
    with ProgressBar("inference") as bar:
        rows = compare(trained, export, images, thresholds, values.seconds, bar.update)
    command_line.show(table(rows, len(images)))
    write_result(
        trained, {"images": len(images), "threads": 1, "machine": machine_facts(), "rows": rows}
    )


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
