"""Compares the .tflite files of an export on arm64, under emulation, with x86-64.

    python -m tests.arm                                  # a small model with random weights
    python -m tests.arm --export_dir=exported --workdir=runs/digits

The same branches must be selected; decisions within rounding of the threshold are counted apart
(export/graphs/drnet/borderline.py). Multiply-accumulates must be those of the selection; logits and
probabilities must be close. The C program of export/tflite/run_tflite.c is run too where a cross
compiler is at hand. Times under emulation say nothing about those of a phone. Where a tool is
missing this says so and succeeds.
"""

import pathlib
import shutil
import tempfile
from collections.abc import Sequence

import numpy as np
import rich.console
import rich.table
from absl import flags

from drnet_tf import command_line
from drnet_tf.data.evaluation_images import first_images
from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from drnet_tf.evaluation.trained import open_run_images
from drnet_tf.flags import define_run_flags, define_thresholds_flag, read_thresholds
from drnet_tf.models.registry import family_of
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.workdir import Run, load_trained
from export.convert.conversion import convert
from export.folder.export import Export
from export.quantize.quantization import QUANTIZATIONS, quantize
from export.verify.verification import Comparison
from tests.arm.arm64_root import PROCESSOR, Arm64, ToolMissing, open_arm64
from tests.arm.comparison import CROSS_COMPILER, allowed, compare_native, compare_on_arm, problems
from tests.export.routed_model import CLASS_NAMES, CONFIG, images_of, model_with_varied_routing


def export_small_model(folder: pathlib.Path) -> Export:
    """Writes an export with all quantizations, in a folder below this one."""
    workdir, export_dir = folder / "workdir", folder / "export"
    Run("drnet_xs.digits", CONFIG, "digits", fit=Fit.WHOLE).save(str(workdir))
    Checkpoint.of(1, model_with_varied_routing(CONFIG)).write(str(workdir))
    trained = load_trained(str(workdir))
    export = convert(trained, CLASS_NAMES, export_dir)
    return quantize(trained, export, QUANTIZATIONS, images_of(CONFIG, 32, seed=1))


def check(arm: Arm64, export: Export, images: np.ndarray, thresholds: Sequence[float]) -> list[str]:
    """Prints how all files of an export compare, and returns what is wrong."""
    print(f"running {len(export.files)} files under emulation", flush=True)
    cost = export.family.cost(config_of(export))
    comparisons = compare_on_arm(arm, export.files, cost, images, thresholds)
    console = rich.console.Console()
    console.print(comparison_table(comparisons))
    found = [text for comparison in comparisons for text in problems(comparison)]
    if shutil.which(CROSS_COMPILER):
        differing = compare_native(arm, export.tflite, images, thresholds[0])
        print("the C program", "DIFFERS" if differing else "says the same on arm64")
        found += differing
    else:
        print(f"C program skipped: there is no {CROSS_COMPILER} (Debian: gcc-aarch64-linux-gnu)")
    return found


def config_of(export: Export):
    """Returns the architecture that an export was made of."""
    return export.family.config.from_dict(export.description["config"])


def comparison_table(comparisons: Sequence[Comparison]) -> rich.table.Table:
    """A line for each file and threshold."""
    table = rich.table.Table(
        title=f"arm64 ({PROCESSOR}, emulated) against x86-64, {comparisons[0].images} images",
        title_justify="left",
    )
    for name in ("file", "T", "borderline", "flipped", "logits", "allowed", ""):
        table.add_column(name, justify="left" if name in ("file", "") else "right", no_wrap=True)
    for row in comparisons:
        table.add_row(
            row.runtime,
            f"{row.threshold:g}",
            str(row.borderline),
            str(row.flipped),
            f"{row.logits_error:.0e}",
            f"{allowed(row.runtime).error:.0e}",
            "DIFFERS" if problems(row) else "equal",
        )
    return table


def define_flags() -> None:
    flags.DEFINE_string("export_dir", None, "Folder of an export; a small model unless given.")
    define_run_flags()  # for test images; noise unless a run is given
    flags.DEFINE_integer("images", 8, "How many images to classify.", lower_bound=1)
    define_thresholds_flag()


def main() -> None:
    values = flags.FLAGS
    if values.workdir and not values.export_dir:
        raise UserError("--workdir gives the images for an --export_dir")
    export = Export.open(values.export_dir) if values.export_dir else None
    thresholds = read_thresholds(export.family if export else family_of(CONFIG))
    try:
        arm = open_arm64()
    except ToolMissing as missing:
        print(f"skipped: {missing}")
        return
    with tempfile.TemporaryDirectory() as folder:
        export = export or export_small_model(pathlib.Path(folder))
        if values.workdir:
            trained = load_trained(values.workdir)
            export.check_source(trained)
            dataset = open_run_images(trained.run, values.data_dir)
            images = first_images(dataset, "test", values.images)
        else:
            images = images_of(config_of(export), values.images)
        if differing := check(arm, export, images, thresholds):
            raise UserError("; ".join(differing))


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
