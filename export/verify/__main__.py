"""Checks that an export does what the Keras model does.

    python -m export.verify --workdir=runs/digits --export_dir=exported/digits

runs the Keras model, the SavedModel (both in batches) and the .tflite (image by image) on test
images and several thresholds, and the SavedModel's other signatures at its default one. It fails if
any branch is selected differently than in Keras, if logits or probabilities are not close, or if
the MACs that an export reports are not those of its selection in the cost table. Decisions within
1e-5 of the threshold, where rounding decides, are counted separately.
"""

from __future__ import annotations

from absl import flags
from rich.table import Table

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table, threshold_text
from drnet_tf.flags import define_thresholds_flag, read_thresholds
from drnet_tf.progress import ProgressBar
from export.flags import define_export_flags, open_export, open_test_images
from export.verify.verification import VerifyReport, verify


def report_table(report: VerifyReport) -> Table:
    """Makes a table with a line for each comparison."""
    rows = [
        {
            "T": threshold_text(compared.threshold),
            "model": compared.runtime,
            "images": str(compared.images),
            "compared": str(compared.compared),
            "borderline": str(compared.borderline),
            "flipped": str(compared.flipped),
            "logits": f"{compared.logits_error:.0e}",
            "": "DIFFERS" if compared.differences else "equal",
        }
        for compared in report.comparisons
    ]
    return cells_table(rows, "against the Keras model", text=["model", ""])


def define_flags() -> None:
    define_export_flags()
    define_thresholds_flag()
    flags.DEFINE_integer("images", 100, "How many test images to use, the first ones.")


def main() -> None:
    trained, export = open_export()
    thresholds = read_thresholds(trained.run.family)
    images = open_test_images(trained)
    with ProgressBar("verifying") as bar:
        report = verify(trained, export, images, thresholds, bar.update)
    command_line.show(report_table(report))
    if not report.ok:
        raise UserError("; ".join(report.differences))
    command_line.show(*report.summary)


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
