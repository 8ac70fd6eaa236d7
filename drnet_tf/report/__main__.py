"""Reports on a training run: python -m drnet_tf.report --workdir=DIR --output=FILE.md

A picture goes beside the text, under the same name. The figures are of the last checkpoint.
"""

from __future__ import annotations

import pathlib

from absl import flags

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.flags import define_run_flags, define_thresholds_flag, read_thresholds, require_flags
from drnet_tf.machine import machine_facts
from drnet_tf.report.curves import draw_run
from drnet_tf.report.training_run import NEEDED_COLUMNS, report_text
from drnet_tf.runs.telemetry import read_epochs
from drnet_tf.runs.workdir import Run, load_trained, read_norm_moments
from drnet_tf.writing import check_writable, replacing, write_text


def define_flags() -> None:
    """Defines the flags of this command."""
    define_run_flags()
    define_thresholds_flag()
    flags.DEFINE_string("output", None, "File to write, .md; its picture gets the same name, .png.")


def main() -> None:
    values = flags.FLAGS
    require_flags(workdir="the folder of a training run")
    output = pathlib.Path(values.output or "")
    if output.suffix != ".md":
        raise UserError(f"--output must be a file that ends in .md, not {values.output}")
    picture = output.with_suffix(".png")
    for path in (output, picture):
        check_writable(str(path))
    thresholds = read_thresholds(Run.load(values.workdir).family)
    trained = load_trained(values.workdir)
    epochs = read_epochs(values.workdir, NEEDED_COLUMNS)
    if not epochs:
        raise UserError(f"{values.workdir} has no finished epoch to report on")
    norm_moments = read_norm_moments(values.workdir)
    results = evaluate_trained(trained, thresholds, values.data_dir)
    with replacing(picture) as path:
        draw_run(epochs, results, f"{trained.run.model} on {trained.run.dataset}", path)
    text = report_text(trained, epochs, results, norm_moments, machine_facts(), picture.name)
    write_text(output, text)
    print(f"wrote {output} and {picture}")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
