"""Evaluates a trained DRNet: python -m drnet_tf.evaluate --workdir=DIR --thresholds=0,0.5,1"""

from __future__ import annotations

import dataclasses
import json

from absl import flags
from rich.console import Console

from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import threshold_table
from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.flags import parse_thresholds
from drnet_tf.runs.workdir import load_trained
from drnet_tf.writing import check_writable, write_text


def define_flags() -> None:
    """Defines the flags of this command; not on import, so that others can use its functions."""
    flags.DEFINE_string("workdir", None, "Folder of a training run.")
    flags.DEFINE_list("thresholds", "0,0.2,0.4,0.6,0.8,1", "Values of T; 1 runs all branches.")
    flags.DEFINE_string("json", None, "Write the results to this file too.")
    flags.DEFINE_string("data_dir", None, "Prepared data set, instead of the run's.")
    flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to use.")


def main() -> None:
    values = flags.FLAGS
    if not values.workdir:
        raise UserError("--workdir is needed: the folder of a training run")
    thresholds = parse_thresholds(values.thresholds)
    if values.json:
        check_writable(values.json)
    trained = load_trained(values.workdir)
    results = evaluate_trained(trained, thresholds, values.data_dir, values.split)
    title = (
        f"{trained.run.model} after step {trained.step}, "
        f"{results[0].images} images of {trained.run.dataset} ({values.split})"
    )
    Console().print(threshold_table(results, trained.model.cost.total.macs, title))
    if values.json:
        report = {
            "model": trained.run.model,
            "dataset": trained.run.dataset,
            "split": values.split,
            "step": trained.step,
            "all_branches": dataclasses.asdict(trained.model.cost.total),
            "thresholds": [result.to_dict() for result in results],
        }
        write_text(values.json, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
