"""Evaluates a trained model: python -m drnet_tf.evaluate --workdir=DIR --thresholds=0,0.5,1"""

from __future__ import annotations

import dataclasses

from absl import flags

from drnet_tf import command_line
from drnet_tf.evaluation.tables import threshold_table
from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.flags import (
    check_json,
    define_json_flag,
    define_run_flags,
    define_thresholds_flag,
    read_thresholds,
    require_flags,
    write_result,
)
from drnet_tf.runs.workdir import Run, load_trained


def define_flags() -> None:
    """Defines the flags of this command."""
    define_run_flags()
    define_thresholds_flag()
    define_json_flag()
    flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Split to use.")


def main() -> None:
    values = flags.FLAGS
    require_flags(workdir="the folder of a training run")
    check_json()
    thresholds = read_thresholds(Run.load(values.workdir).family)
    trained = load_trained(values.workdir)
    results = evaluate_trained(trained, thresholds, values.data_dir, values.split)
    title = (
        f"{trained.run.model} after step {trained.step}, "
        f"{results[0].images} images of {trained.run.dataset} ({values.split})"
    )
    total = trained.model.cost.total
    command_line.show(threshold_table(results, total.macs, title))
    write_result(
        trained,
        {
            "split": values.split,
            "all_branches": dataclasses.asdict(total),
            "thresholds": [result.to_dict() for result in results],
        },
    )


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
