"""Latency of an export beside MobileNetV2, which a user would pick instead.

    python -m benchmarks.inference --workdir=RUN --export_dir=EXPORT --thresholds=0.5,0.8,1

LiteRT, one thread, float32, real test images, in one run, in blocks that take turns; see
export/tflite/timing.py. MobileNetV2 is that of drnet_tf/models/plain/mobilenet_v2.py. The graph
without IF runs all branches of the network.
"""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import rich.console
import rich.table
import tensorflow as tf
from absl import flags
from ai_edge_litert.interpreter import Interpreter

from drnet_tf import command_line
from drnet_tf.data.evaluation_images import first_images
from drnet_tf.errors import UserError
from drnet_tf.flags import parse_thresholds
from drnet_tf.machine import machine_facts
from drnet_tf.models.plain.mobilenet_v2 import IMAGE_SIZE, mobilenet_v2
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import Trained
from drnet_tf.writing import check_writable, write_text
from export.flags import check_export_flags, define_export_flags, load_exported, open_run_images
from export.folder import names
from export.folder.export import check_files, check_source
from export.graphs.drnet.folding import read_weights
from export.graphs.plan import DENSE
from export.tflite.converter import to_tflite
from export.tflite.runner import TFLiteRunner
from export.tflite.timing import Block, take_turns

PEER, ALL = "MobileNetV2 1.0x", "DRNet, all branches, no IF"


def compare(
    trained: Trained,
    export_dir: str,
    images: np.ndarray,
    thresholds: Sequence[float],
    seconds: float,
    progress=lambda done, total, text: None,
) -> list[dict[str, Any]]:
    """Times the export at each threshold, the dense graph and MobileNetV2.

    Args:
        images: float32 [images, 32, 32, 3] in 0..255.
        seconds: how long to time, in all.
        progress: called with the steps done, their number, and what is being done.

    Returns:
        For each a row: its `name`, `macs` in millions on average, and over images the `median_ms`,
        `p90_ms`, and `ratio` of medians to MobileNetV2.

    Raises:
        UserError: the export is not of this model, or its images are not of 32 x 32.
    """
    check_files(export_dir)
    check_source(export_dir, trained)
    if trained.model.config.image_size != IMAGE_SIZE:
        raise UserError(
            f"MobileNetV2 is built for images of {IMAGE_SIZE} x {IMAGE_SIZE}, and the model takes "
            f"{trained.model.config.image_size} x {trained.model.config.image_size}"
        )
    progress(0, 2, "converting")
    peer = Block.of(_Peer(converted_mobilenet_v2()), 1.0, images)
    progress(1, 2, "converting")
    dense = TFLiteRunner(to_tflite(read_weights(trained.model), DENSE))
    routed = TFLiteRunner(pathlib.Path(export_dir, names.TFLITE_FILE))
    blocks = {PEER: peer, ALL: Block.of(dense, 1.0, images)}
    macs: dict[str, float] = {PEER: _peer_macs(), ALL: trained.model.cost.total.macs}
    for threshold in thresholds:
        name = f"DRNet routed, T = {threshold:g}"
        selected = routed.run_all(images, threshold).selected
        macs[name] = float(trained.model.cost.of_selection(selected)[1].mean())
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


class _Peer:
    """Runs a .tflite with one input; what it gives is not looked at."""

    def __init__(self, content: bytes):
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        (image,) = self._interpreter.get_input_details()
        self._image = image["index"]

    def set_threshold(self, threshold: float) -> None:
        """It has none."""

    def set_image(self, image: np.ndarray) -> None:
        self._interpreter.set_tensor(self._image, image[None])

    def invoke(self) -> None:
        self._interpreter.invoke()


def _peer_macs() -> int:
    """Multiply-accumulates of its convolutions and its dense layer."""
    total = 0
    for layer in mobilenet_v2().layers:
        if hasattr(layer, "kernel"):
            pixels = np.prod(layer.output.shape[1:-1], dtype=int)
            total += int(np.prod(layer.kernel.shape)) * int(pixels)
    return total


def table(rows: Sequence[dict[str, Any]], images: int) -> rich.table.Table:
    """A line for each row of `compare`."""
    shown = rich.table.Table(title=f"one thread, {images} images", title_justify="left")
    for name in ("", "MACs M", "ms", "p90", f"/ {PEER}"):
        shown.add_column(name, justify="right" if name else "left", no_wrap=True)
    for row in rows:
        values = [f"{row['macs']:.1f}", f"{row['median_ms']:.3f}", f"{row['p90_ms']:.3f}"]
        shown.add_row(row["name"], *values, f"{row['ratio']:.2f}")
    return shown


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    define_export_flags()
    flags.DEFINE_list("thresholds", "0,0.5,0.8,1", "Values of T.")
    flags.DEFINE_integer("images", 64, "How many test images, the first ones.", lower_bound=1)
    flags.DEFINE_float("seconds", 30.0, "How long to time.", lower_bound=0.0)
    flags.DEFINE_string("json", None, "Write the results to this file too.")


def main() -> None:
    values = flags.FLAGS
    check_export_flags()
    thresholds = parse_thresholds(values.thresholds)
    if values.json:
        check_writable(values.json)
    trained = load_exported()
    images = first_images(open_run_images(trained.run, values.data_dir), "test", values.images)
    with ProgressBar("inference") as bar:
        rows = compare(trained, values.export_dir, images, thresholds, values.seconds, bar.update)
    rich.console.Console().print(table(rows, len(images)))
    if values.json:
        report = {"images": len(images), "threads": 1, "machine": machine_facts(), "rows": rows}
        write_text(values.json, json.dumps(report, indent=2) + "\n")


def converted_mobilenet_v2() -> bytes:
    """The .tflite, with the signature `serving_default` and its input `image`."""
    with contextlib.redirect_stdout(io.StringIO()):  # it describes what it saves on the way
        return tf.lite.TFLiteConverter.from_keras_model(mobilenet_v2()).convert()


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
