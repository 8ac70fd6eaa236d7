"""What a training run was and came to: python -m drnet_tf.report --workdir=DIR --output=FILE.md

A picture goes beside the text, under the same name. The figures are of the last checkpoint.
"""

from __future__ import annotations

import pathlib

from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.flags import parse_thresholds
from drnet_tf.machine import machine_facts
from drnet_tf.report.curves import draw_run
from drnet_tf.report.training_run import _NEEDED, report_text
from drnet_tf.runs.telemetry import read_epochs
from drnet_tf.runs.workdir import load_trained, read_recalibration
from drnet_tf.writing import check_writable, replacing, write_text


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    flags.DEFINE_string("workdir", None, "Folder of a training run.")
    flags.DEFINE_string("output", None, "File to write, .md; its picture gets the same name, .png.")
    flags.DEFINE_list("thresholds", "0,0.2,0.4,0.5,0.6,0.7,0.8,0.9,1", "Values of T.")
    flags.DEFINE_string("data_dir", None, "Prepared data set, instead of the run's.")


def main() -> None:
    values = flags.FLAGS
    if not values.workdir:
        raise UserError("--workdir is needed: the folder of a training run")
    output = pathlib.Path(values.output or "")
    if output.suffix != ".md":
        raise UserError(f"--output must be a file that ends in .md, not {values.output}")
    thresholds = parse_thresholds(values.thresholds)
    picture = output.with_suffix(".png")
    for path in (output, picture):
        check_writable(str(path))
    trained = load_trained(values.workdir)
    epochs = read_epochs(values.workdir, _NEEDED)
    if not epochs:
        raise UserError(f"{values.workdir} has no finished epoch to report on")
    recalibration = read_recalibration(values.workdir)
    results = evaluate_trained(trained, thresholds, values.data_dir)
    with replacing(picture) as path:
        draw_run(epochs, results, f"{trained.run.model} on {trained.run.dataset}", path)
    text = report_text(trained, epochs, results, recalibration, machine_facts(), picture.name)
    write_text(output, text)
    print(f"wrote {output} and {picture}")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
