"""Runs every .tflite file of an export on random inputs, and very often.

    python -m export.stress --export_dir=exported/digits

Images of noise, of one value, huge, and with NaN and infinity in them; thresholds of any value, NaN
and infinity too. Whatever comes in, the process goes on and every connection selects a branch; an
image in 0..255 gets finite probabilities that sum to 1. Then the memory must stay flat over many
invocations. The command ends with exit status 1 where one of this fails.

Each file runs in a process of its own, see export/stress_process.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import rich.console
import rich.table
from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.progress import ProgressBar
from export import artifacts
from export.child_process import run_child
from export.stress_process import BEYOND, NOT_FINITE

_PROCESS = "export.stress_process"
#: Of memory that may be gained: half of the least that the C library gives for an allocation, 32
#: bytes on 64 bits. Whatever loses a block in each invocation gains twice as much.
BYTES_AN_INVOCATION = 16
SUMMARY = (
    "all inputs select a branch of each connection, images in 0..255 get probabilities that sum to "
    "1, memory is flat"
)
#: What an allocator may gain once, by breaking up its memory differently.
LEAST_BYTES = 256 * 1024


@dataclasses.dataclass(frozen=True)
class StressResult:
    """What one file did.

    Args:
        file: its quantization, or "static".
        inputs: how many random inputs it ran on.
        invocations: how often it ran after that.
        failed: inputs whose answer is wrong.
        failures: the first of them, in words.
        images: random inputs by kind, see export/stress_process.py.
        unanswered: those of them that got no finite probabilities.
        memory: bytes resident after the warm-up.
        growth: how many more at the end.
    """

    file: str
    inputs: int
    invocations: int
    failed: int
    failures: tuple[str, ...]
    images: dict[str, int]
    unanswered: dict[str, int]
    memory: int
    growth: int

    @property
    def faults(self) -> list[str]:
        """What is wrong, in words."""
        found = []
        if self.failed:
            found.append(f"{self.failed} of {self.inputs} inputs failed: {self.failures[0]}")
        allowed = allowed_growth(self.invocations)
        if self.growth > allowed:
            found.append(
                f"memory grew by {self.growth:,} bytes in {self.invocations:,} invocations, more "
                f"than {allowed:,}"
            )
        return [f"{self.file}: {text}" for text in found]


def allowed_growth(invocations: int) -> int:
    """Bytes by which memory may grow: so few that a leak in every invocation shows."""
    return max(LEAST_BYTES, BYTES_AN_INVOCATION * invocations)


def stress(
    export_dir: Path | str,
    inputs: int = 10_000,
    invocations: int = 100_000,
    seed: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> list[StressResult]:
    """Runs all .tflite files of an export.

    Args:
        inputs: random inputs for each file.
        invocations: for each file, on a few images again and again, over which memory is measured.
        seed: of the inputs.
        progress: called with the runs done, their number, and the kind of the file.

    Returns:
        A result for each file.

    Raises:
        UserError: the folder is no export, its files have changed, or a file ended its process.
    """
    artifacts.check_files(export_dir)
    files = artifacts.tflite_files(export_dir)
    if artifacts.STATIC_FILE in artifacts.read_description(export_dir)["files"]:
        files["static"] = Path(export_dir, artifacts.STATIC_FILE)
    each = inputs + invocations
    results = []
    for i, (kind, path) in enumerate(files.items()):

        def report(done: int, before: int = i * each, kind: str = kind) -> None:
            progress(before + done, len(files) * each, kind)

        settings = {
            "file": str(path.resolve()),
            "inputs": inputs,
            "invocations": invocations,
            "seed": seed,
        }
        values = run_child(_PROCESS, settings, report)
        report(each)
        values["failures"] = tuple(values["failures"])
        results.append(StressResult(kind, inputs, invocations, **values))
    return results


def result_table(results: Sequence[StressResult]) -> rich.table.Table:
    """The results with a line for each file."""
    first = results[0]
    table = rich.table.Table(
        title=f"{first.inputs:,} random inputs, {first.invocations:,} invocations; "
        "NaN: no finite answer",
        title_justify="left",
    )
    table.add_column("file", no_wrap=True)
    for name in (
        *("failed", f"NaN where\n{BEYOND}", f"NaN where\n{NOT_FINITE}"),
        *("memory\nMB", "growth\nkB", "bound\nkB"),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(
            result.file,
            str(result.failed),
            *(
                f"{result.unanswered[kind]} of {result.images[kind]}"
                for kind in (BEYOND, NOT_FINITE)
            ),
            f"{result.memory / 1e6:.1f}",
            f"{result.growth / 1e3:.0f}",
            f"{allowed_growth(result.invocations) / 1e3:.0f}",
        )
    return table


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    flags.DEFINE_string("export_dir", None, "Folder of an export.")
    flags.DEFINE_integer("inputs", 10_000, "Random inputs for each file.", lower_bound=1)
    flags.DEFINE_integer(
        "invocations", 100_000, "Invocations for each file, over which memory is measured.", 1
    )
    flags.DEFINE_integer("seed", 0, "Of the inputs.", lower_bound=0)


def main() -> None:
    values = flags.FLAGS
    if not values.export_dir:
        raise UserError("needed is --export_dir, an export")
    with ProgressBar("stress") as bar:
        results = stress(
            values.export_dir, values.inputs, values.invocations, values.seed, bar.update
        )
    rich.console.Console().print(result_table(results))
    if faults := [fault for result in results for fault in result.faults]:
        raise UserError("; ".join(faults))
    rich.console.Console().print(SUMMARY, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
