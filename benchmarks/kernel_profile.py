"""Finds where the time of a .tflite goes, by the kernels that run: LiteRT under Linux's perf.

    python -m benchmarks.kernel_profile --workdir=RUN --export_dir=EXPORT

One thread, real test images in turn, samples of the CPU clock. Kernels of XNNPACK are named after
what they compute and the instructions that they use; the rest is what LiteRT does around them, for
IF above all. Needs `perf` (Debian: linux-perf).
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from absl import flags
from rich.table import Table

from benchmarks.inference import IMAGE_SIZE, PEER_MODEL
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
from drnet_tf.progress import Progress, ProgressBar, silent
from drnet_tf.runs.workdir import Trained
from export.flags import define_export_flags, open_export, open_test_images
from export.folder.export import Export
from export.graphs.graph import graph_of
from export.graphs.plan import DENSE
from export.tflite.child_process import child_environment
from export.tflite.converter import to_tflite

#: What kernels are for, by the first pattern that their name has.
KINDS = (
    ("depthwise 5x5", r"dwconv.*_25p"),
    ("depthwise 3x3", r"dwconv.*_9p"),
    ("pointwise and dense", r"_gemm_"),
    ("other convolutions", r"_igemm_|dwconv"),
    ("max pools", r"maxpool"),
    ("average pools, means", r"avgpool|_rsum|_rdsum|gavgpool"),
    ("weights of branches", r"vmul"),
    ("sums of branches", r"vadd"),
    ("ReLU", r"vclamp|vrelu"),
    ("copies", r"memmove|memcpy|_copy_|xnn_xx_"),
    ("other kernels", r"ukernel"),
)

AROUND = "around kernels: LiteRT, IF"
#: Runs a model on images in turn until it is killed; says when it is ready. Without TensorFlow.
_CHILD = """
import itertools, sys
import numpy as np
from export.tflite.runner import TFLiteRunner
runner = TFLiteRunner(sys.argv[1])
runner.set_threshold(float(sys.argv[2]))
for count, image in enumerate(itertools.cycle(np.load(sys.argv[3]))):
    runner.set_image(image)
    runner.invoke()
    if count == 50:
        print("ready", flush=True)
"""


def profile(
    model: pathlib.Path, images: np.ndarray, threshold: float | None, seconds: float
) -> dict[str, float]:
    """Finds the share of time of each kind of kernel, the largest first.

    Args:
        model: a .tflite of this package.
        images: float32 [images, image_size, image_size, 3] in 0..255, to classify in turn.
        threshold: T; None for a model without routing, or with all units.
        seconds: how long to look.

    Raises:
        UserError: perf is missing or must not look.
    """
    if shutil.which("perf") is None:
        raise UserError("perf is needed, of Linux (Debian: linux-perf)")
    with tempfile.TemporaryDirectory() as folder:
        data, pixels = (str(pathlib.Path(folder, name)) for name in ("perf.data", "images.npy"))
        np.save(pixels, images)
        arguments = [sys.executable, "-c", _CHILD, str(model), str(threshold or 0), pixels]
        # One thread for NumPy too: its idle ones would be counted.
        environment = child_environment() | {"OPENBLAS_NUM_THREADS": "1"}
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as child:
            try:
                if child.stdout is None or not child.stdout.readline():
                    raise UserError(f"{model} does not run")
                look = ["-p", str(child.pid), "--", "sleep", str(seconds)]
                _perf("record", "-q", "-e", "cpu-clock", "-F", "4999", "-o", data, *look)
            finally:
                child.kill()
        return shares(_perf("script", "-i", data, "-F", "ip,sym").splitlines())


def profile_export(
    trained: Trained,
    export: Export,
    images: np.ndarray,
    thresholds: Sequence[float | None],
    seconds: float,
    progress: Progress = silent,
) -> dict[str, dict[str, float]]:
    """Profiles the graph without IF, the export at each threshold, and MobileNetV2.

    Args:
        images: float32 [images, image_size, image_size, 3] in 0..255.
        thresholds: values of T; (None,) for a model without routing.
        seconds: how long to look at each.

    Raises:
        UserError: perf is missing or must not look.
    """
    profiles = {}
    with tempfile.TemporaryDirectory() as folder:
        peer, dense = pathlib.Path(folder, "peer.tflite"), pathlib.Path(folder, "dense.tflite")
        dense.write_bytes(to_tflite(graph_of(trained.model), DENSE))
        models: list[tuple[str, pathlib.Path, float | None]] = [("no IF", dense, None)]
        models += [(f"T = {t:g}", export.tflite, t) for t in thresholds if t is not None]
        if images.shape[1] == IMAGE_SIZE:
            peer.write_bytes(to_tflite(graph_of(build_model(PEER_MODEL)), DENSE))
            models.append(("MobileNetV2", peer, None))
        for done, (name, model, threshold) in enumerate(models):
            progress(done, len(models), name)
            profiles[name] = profile(model, images, threshold, seconds)
    return profiles


def _perf(*arguments: str) -> str:
    done = subprocess.run(["perf", *arguments], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it does not say why"]
        raise UserError(f"perf {arguments[0]} failed: {lines[0]}")
    return done.stdout


def shares(symbols: Iterable[str]) -> dict[str, float]:
    """Counts the share of samples of each kind, from the name of the function of each sample."""
    counts: Counter[str] = Counter()
    for symbol in filter(None, map(str.strip, symbols)):
        counts[next((kind for kind, part in KINDS if re.search(part, symbol)), AROUND)] += 1
    return {kind: count / counts.total() for kind, count in counts.most_common()}


def table(profiles: dict[str, dict[str, float]]) -> Table:
    """Makes a table with a line for each kind of kernel, a column for each model."""
    kinds = {kind: None for each in profiles.values() for kind in each}
    rows = [
        {"": kind} | {name: f"{100 * each.get(kind, 0):.1f}" for name, each in profiles.items()}
        for kind in kinds
    ]
    return cells_table(rows, "% of the time of an image", text=[""])


def define_flags() -> None:
    define_export_flags()
    define_thresholds_flag()
    flags.DEFINE_integer("images", 64, "How many test images, the first ones.", lower_bound=1)
    flags.DEFINE_float("seconds", 8.0, "How long to look at each.", lower_bound=0.1)
    define_json_flag()


def main() -> None:
    values = flags.FLAGS
    check_json()
    trained, export = open_export()
    thresholds = read_thresholds(trained.run.family, ("least", "default", "everything"))
    images = open_test_images(trained)
    with ProgressBar("profiles") as bar:
        profiles = profile_export(trained, export, images, thresholds, values.seconds, bar.update)
    command_line.show(table(profiles))
    write_result(trained, {"machine": machine_facts(), "profiles": profiles})


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
