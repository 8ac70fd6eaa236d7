"""Runs every .tflite file of an export on random inputs, and very often.

    python -m export.stress --export_dir=exported/digits

Images of noise, of one value, huge, and with NaN and infinity in them; thresholds of any value, NaN
and infinity too. Whatever comes in, the process survives and every connection of a DRNet selects a
branch; an image in 0..255 gets finite probabilities that sum to 1. Then the memory must stay flat
over many invocations. The command ends with exit status 1 where one of this fails.

Each file runs in a process of its own, see export/stress/process.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from rich.table import Table

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table
from drnet_tf.flags import require_flags
from drnet_tf.progress import ProgressBar
from export.folder.export import Export
from export.stress.endurance import StressResult, allowed_growth, stress
from export.stress.process import BEYOND, NOT_FINITE

SUMMARY = (
    "all inputs select as they must, images in 0..255 get probabilities that sum to 1, memory is "
    "flat"
)


def result_table(results: Sequence[StressResult]) -> Table:
    """Makes a table with a line for each file."""
    rows = [
        {
            "file": result.file,
            "failed": str(result.failed),
            **{
                f"NaN where\n{kind}": f"{result.unanswered[kind]} of {result.images[kind]}"
                for kind in (BEYOND, NOT_FINITE)
            },
            "memory\nMB": f"{result.memory / 1e6:.1f}",
            "growth\nkB": f"{result.growth / 1e3:.0f}",
            "bound\nkB": f"{allowed_growth(result.invocations) / 1e3:.0f}",
        }
        for result in results
    ]
    runs = f"{results[0].inputs:,} random inputs, {results[0].invocations:,} invocations"
    return cells_table(rows, f"{runs}; NaN: no finite answer", text=["file"])


def define_flags() -> None:
    flags.DEFINE_string("export_dir", None, "Folder of an export.")
    flags.DEFINE_integer("inputs", 10_000, "Random inputs for each file.", lower_bound=1)
    flags.DEFINE_integer(
        "invocations", 100_000, "Invocations for each file, over which memory is measured.", 1
    )
    flags.DEFINE_integer("seed", 0, "Of the inputs.", lower_bound=0)


def main() -> None:
    values = flags.FLAGS
    require_flags(export_dir="an export")
    export = Export.open(values.export_dir)
    with ProgressBar("stress") as bar:
        results = stress(export, values.inputs, values.invocations, values.seed, bar.update)
    command_line.show(result_table(results))
    if faults := [fault for result in results for fault in result.faults]:
        raise UserError("; ".join(faults))
    command_line.show(SUMMARY)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
