"""Counts the instructions that an image takes, routed and dense: a measure that repeats.

    python -m export.instructions --workdir=runs/digits --export_dir=exported/digits

A C program (run_tflite.c) classifies test images under valgrind's callgrind, which counts the
instructions of the invocations: not those of loading, nor of a first invocation that allocates.
Milliseconds depend on what else a machine does; instructions do not, and repeat on another machine
as far as LiteRT picks the same kernels: by the instruction sets that valgrind shows it, which are
printed, and which lack AVX-512. An instruction that waits for memory counts as one. Needed are a C
compiler and valgrind.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags
from rich.table import Table

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table, threshold_text
from drnet_tf.flags import (
    check_json,
    define_json_flag,
    define_thresholds_flag,
    read_thresholds,
    write_result,
)
from drnet_tf.progress import Progress, ProgressBar, silent
from drnet_tf.runs.workdir import Trained
from export.flags import define_export_flags, open_export, open_test_images
from export.folder.export import Export
from export.graphs.graph import graph_of
from export.graphs.plan import DENSE
from export.tflite.converter import to_tflite
from export.tflite.native_runner import NativeResult, compile_runner, require_compiler, run_native
from export.tflite.programs import run_program

VALGRIND = "valgrind"
#: The function of run_tflite.c that holds the invocations that count.
_COUNTED = "counted"


@dataclasses.dataclass(frozen=True)
class InstructionCount:
    """Holds what an image takes at one threshold; means over the images.

    Args:
        threshold: T.
        images: how many were classified.
        macs: multiply-accumulates of an image's branches and the fixed part.
        macs_ratio: to those of all branches.
        instructions: of one invocation.
        ratio: to the instructions of a graph that runs all branches.
    """

    threshold: float | None
    images: int
    macs: float
    macs_ratio: float
    instructions: float
    ratio: float


@dataclasses.dataclass(frozen=True)
class InstructionReport:
    """Holds the counts of an export.

    Args:
        dense_instructions: of an image in a graph that runs all branches.
        instruction_sets: what kernels could be picked by, while it was counted.
        hidden_instruction_sets: what this machine has besides, and valgrind does not show.
        counts: one for each threshold.
    """

    dense_instructions: float
    instruction_sets: tuple[str, ...]
    hidden_instruction_sets: tuple[str, ...]
    counts: tuple[InstructionCount, ...]

    @property
    def kernels(self) -> str:
        """Tells which kernels were counted, in words."""
        shown = ", ".join(self.instruction_sets) or "unknown"
        hidden = ", ".join(self.hidden_instruction_sets)
        return f"kernels for {shown}" + (f"; valgrind hides {hidden}" if hidden else "")


def count_instructions(
    trained: Trained,
    export: Export,
    images: np.ndarray,
    thresholds: Sequence[float | None],
    progress: Progress = silent,
) -> InstructionReport:
    """Counts the instructions of an export and of its dense graph.

    Args:
        images: float32 [images, image_size, image_size, 3] in 0..255.
        thresholds: values of T; (None,) for a model without routing.
    """
    check_tools()
    steps = 2 + len(thresholds)
    total = trained.model.cost.total.macs
    with tempfile.TemporaryDirectory() as folder:
        program, dense = Path(folder, "run_tflite"), Path(folder, "dense.tflite")
        compile_runner(program)
        progress(0, steps, "converting")
        dense.write_bytes(to_tflite(graph_of(trained.model), DENSE))
        progress(1, steps, "counting")
        # At any threshold: it computes all units and weighs some with zero.
        dense_instructions, _ = count_invocations(program, dense, images, None)
        counts = []
        for done, threshold in enumerate(thresholds, 2):
            progress(done, steps, "counting")
            instructions, results = count_invocations(program, export.tflite, images, threshold)
            # A file without routing does not count what is always the same.
            macs = float(np.mean([total if r.flops is None else r.flops for r in results]))
            counts.append(
                InstructionCount(
                    threshold=threshold,
                    images=len(images),
                    macs=macs,
                    macs_ratio=macs / total,
                    instructions=instructions,
                    ratio=instructions / dense_instructions,
                )
            )
        shown = run_program([VALGRIND, "--quiet", "--tool=none", str(program), "--cpu"]).split()
        here = run_program([str(program), "--cpu"]).split()
    progress(steps, steps, "counting")
    hidden = tuple(name for name in here if name not in shown)
    return InstructionReport(dense_instructions, tuple(shown), hidden, tuple(counts))


def check_tools() -> None:
    """Raises a UserError unless the compiler and valgrind are there."""
    require_compiler()
    if not shutil.which(VALGRIND):
        raise UserError("valgrind is needed to count instructions (Debian: valgrind)")


def count_invocations(
    program: Path, model: Path, images: np.ndarray, threshold: float | None
) -> tuple[float, list[NativeResult]]:
    """Classifies images under callgrind.

    Returns:
        The mean number of instructions of an invocation, and what the program says of each image.
    """
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "callgrind.out")
        options = ["--tool=callgrind", f"--toggle-collect={_COUNTED}"]
        under = [VALGRIND, "--quiet", *options, f"--callgrind-out-file={counts}"]
        results = run_native(program, model, images, threshold, under)
        found = re.search(r"^totals: (\d+)$", counts.read_text(), re.MULTILINE)
    if not found or not int(found[1]):
        raise UserError("callgrind has counted nothing: is the program compiled without symbols?")
    return int(found[1]) / len(results), results


def report_table(report: InstructionReport) -> Table:
    """Makes a table with a line for each threshold, and one for the dense graph."""
    rows = [
        {
            "T": threshold_text(count.threshold),
            "MACs M": f"{count.macs / 1e6:.2f}",
            "MACs/all": f"{count.macs_ratio:.3f}",
            "instructions M": f"{count.instructions / 1e6:.3f}",
            "/ dense": f"{count.ratio:.3f}",
        }
        for count in report.counts
    ]
    table = cells_table(rows, f"instructions per image, mean of {report.counts[0].images} images")
    table.add_row("dense", "", "1.000", f"{report.dense_instructions / 1e6:.3f}", "1.000")
    return table


def define_flags() -> None:
    define_export_flags()
    define_thresholds_flag()
    flags.DEFINE_integer("images", 8, "How many test images to use, the first ones.")
    define_json_flag()


def main() -> None:
    check_json()
    check_tools()
    trained, export = open_export()
    thresholds = read_thresholds(trained.run.family, ("least", "default", "everything"))
    images = open_test_images(trained)
    with ProgressBar("instructions") as bar:
        report = count_instructions(trained, export, images, thresholds, bar.update)
    command_line.show(report_table(report), report.kernels)
    write_result(
        trained,
        {
            "images": len(images),
            "threads": 1,
            "valgrind": run_program([VALGRIND, "--version"]).strip(),
            "instruction_sets": report.instruction_sets,
            "hidden_instruction_sets": report.hidden_instruction_sets,
            "dense_instructions": report.dense_instructions,
            "results": [dataclasses.asdict(count) for count in report.counts],
        },
    )


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
