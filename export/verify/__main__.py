"""Checks that an export does what the Keras model does.

    python -m export.verify --workdir=runs/digits --export_dir=exported/digits

runs the Keras model, the SavedModel (both in batches) and the .tflite (image by image) on test
images and several thresholds, and the SavedModel's other signatures at its default one. Selected
branches must be identical, logits and probabilities close, and the FLOPs that an export reports
those of its selection in the cost table.
"""

from __future__ import annotations

import rich.console
import rich.table
from absl import flags

from drnet_tf import command_line
from drnet_tf.data.evaluation_images import first_images
from drnet_tf.errors import UserError
from drnet_tf.flags import parse_thresholds
from drnet_tf.progress import ProgressBar
from export.flags import check_export_flags, define_export_flags, load_exported, open_run_images
from export.verify.verification import VerifyReport, verify


def report_table(report: VerifyReport) -> rich.table.Table:
    """The report with a line for each comparison."""
    table = rich.table.Table(title="against the Keras model", title_justify="left")
    for name in ("T", "model", "images", "compared", "borderline", "flipped", "logits", ""):
        # Names of signatures go on in a second line where the terminal is narrow.
        table.add_column(
            name, justify="left" if name in ("model", "") else "right", overflow="fold"
        )
    for row in report.comparisons:
        table.add_row(
            f"{row.threshold:g}",
            row.runtime,
            str(row.images),
            str(row.compared),
            str(row.borderline),
            str(row.flipped),
            f"{row.logits_error:.0e}",
            "DIFFERS" if row.differences else "equal",
        )
    return table


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    define_export_flags()
    flags.DEFINE_integer("images", 100, "How many test images to use, the first ones.")
    flags.DEFINE_list("thresholds", "0,0.2,0.4,0.6,0.8,1", "Values of T; 1 runs all branches.")


def main() -> None:
    values = flags.FLAGS
    check_export_flags()
    thresholds = parse_thresholds(values.thresholds)
    trained = load_exported()
    images = first_images(open_run_images(trained.run, values.data_dir), "test", values.images)
    with ProgressBar("verifying") as bar:
        report = verify(trained, values.export_dir, images, thresholds, bar.update)
    console = rich.console.Console()
    console.print(report_table(report))
    if not report.ok:
        raise UserError("; ".join(report.differences))
    for line in report.summary:
        console.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
