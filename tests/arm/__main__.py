"""Compares the .tflite files of an export on arm64, under emulation, with x86-64.

    python -m tests.arm                                  # a small model with random weights
    python -m tests.arm --export_dir=exported --workdir=runs/digits

The same branches must be selected, except where a decision hangs on rounding
(export/graphs/drnet/borderline.py); multiply-accumulates must be those of the selection; logits and
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
from drnet_tf.errors import UserError
from drnet_tf.flags import parse_thresholds
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.cost import cost_table
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.workdir import Run, load_trained
from export.convert.conversion import convert
from export.flags import open_run_images
from export.folder import names
from export.folder.export import check_files, check_source, read_description, tflite_files
from export.quantize.quantization import QUANTIZATIONS, quantize
from export.verify.verification import Comparison
from tests.arm.arm64_root import PROCESSOR, Arm64, ToolMissing, open_arm64
from tests.arm.comparison import CROSS_COMPILER, allowed, compare_native, compare_on_arm, problems
from tests.export.routed_model import CLASS_NAMES, CONFIG, images_of, model_with_varied_routing


def export_small_model(folder: pathlib.Path) -> pathlib.Path:
    """An export with all quantizations, in a folder below this one."""
    workdir, export_dir = folder / "workdir", folder / "export"
    Run("small", CONFIG, "digits", {"data_dir": None}).save(str(workdir))
    Checkpoint.of(1, model_with_varied_routing(CONFIG)).write(str(workdir))
    trained = load_trained(str(workdir))
    convert(trained, CLASS_NAMES, export_dir)
    quantize(trained, export_dir, QUANTIZATIONS, images_of(CONFIG, 32, seed=1))
    return export_dir


def check(
    arm: Arm64, export_dir: pathlib.Path, images: np.ndarray, thresholds: Sequence[float]
) -> list[str]:
    """Prints how all files of an export compare, and returns what is wrong."""
    config = DRNetConfig.from_dict(read_description(export_dir)["config"])
    files = tflite_files(export_dir)
    print(f"running {len(files)} files under emulation", flush=True)
    comparisons = compare_on_arm(arm, files, cost_table(config), images, thresholds)
    console = rich.console.Console()
    console.print(comparison_table(comparisons))
    found = [text for comparison in comparisons for text in problems(comparison)]
    if shutil.which(CROSS_COMPILER):
        differing = compare_native(arm, files[names.FLOAT32], images, thresholds[0])
        print("the C program", "DIFFERS" if differing else "says the same on arm64")
        found += differing
    else:
        print(f"C program skipped: there is no {CROSS_COMPILER} (Debian: gcc-aarch64-linux-gnu)")
    return found


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
    flags.DEFINE_string("workdir", None, "Its training run, for test images; noise unless given.")
    flags.DEFINE_string("data_dir", None, "Prepared data set, instead of the run's.")
    flags.DEFINE_integer("images", 8, "How many images to classify.", lower_bound=1)
    flags.DEFINE_list("thresholds", "0,0.4,0.8,1", "Values of T; 1 runs all branches.")


def main() -> None:
    values = flags.FLAGS
    thresholds = parse_thresholds(values.thresholds)
    if values.workdir and not values.export_dir:
        raise UserError("--workdir gives the images for an --export_dir")
    if values.export_dir:
        check_files(values.export_dir)
    try:
        arm = open_arm64()
    except ToolMissing as missing:
        print(f"skipped: {missing}")
        return
    with tempfile.TemporaryDirectory() as folder:
        export_dir = pathlib.Path(values.export_dir or export_small_model(pathlib.Path(folder)))
        config = DRNetConfig.from_dict(read_description(export_dir)["config"])
        if values.workdir:
            trained = load_trained(values.workdir)
            check_source(export_dir, trained)
            dataset = open_run_images(trained.run, values.data_dir)
            images = first_images(dataset, "test", values.images)
        else:
            images = images_of(config, values.images)
        if differing := check(arm, export_dir, images, thresholds):
            raise UserError("; ".join(differing))


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
