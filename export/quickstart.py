"""Runs the whole product in some minutes: python -m export.quickstart

It trains a small DRNet on handwritten digits through both stages, evaluates it over thresholds,
exports it, checks the export against the Keras model, and times it against the dense graph.
"""

from __future__ import annotations

import json
import pathlib
import time

from absl import flags
from rich.console import Console
from rich.table import Table

from drnet_tf import command_line, train, training_flags
from drnet_tf.data.evaluation_images import first_images
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table, result_cells
from drnet_tf.evaluation.thresholds import ThresholdResult
from drnet_tf.evaluation.trained import evaluate_trained, open_run_images
from drnet_tf.models.family import knob_of
from drnet_tf.progress import ProgressBar
from drnet_tf.runs.workdir import load_trained
from drnet_tf.writing import write_text
from export.benchmark.latency import BenchmarkResult, benchmark
from export.convert.conversion import convert
from export.flags import require_tensorflow
from export.folder import names
from export.folder.export import check_replaceable
from export.verify.verification import verify

FLAGFILE = pathlib.Path(__file__).parents[1] / "configs" / "digits_quickstart.flags"
VERIFIED_IMAGES = 100
TIMED_IMAGES = 32
TIMED_SECONDS = 3.0  # for each threshold


def main() -> None:
    started = time.monotonic()
    output = pathlib.Path(flags.FLAGS.output)
    # Beside the rest, so that nothing outside of the project's folder is touched.
    data_dir, workdir, export_dir = (str(output / name) for name in ("data", "training", "export"))
    training_flags.define_flags()
    settings = (f"--flagfile={FLAGFILE}", f"--data_dir={data_dir}", f"--workdir={workdir}")
    flags.FLAGS(["quickstart", *settings])
    console = Console()
    require_tensorflow()
    check_replaceable(export_dir)

    console.rule("1 of 4: training, both stages")
    train.train_from_flags()
    trained = load_trained(workdir)
    thresholds = knob_of(trained.run.family).shown

    console.rule("2 of 4: evaluation")
    evaluated = evaluate_trained(trained, thresholds)

    console.rule("3 of 4: export, and its check against the Keras model")
    dataset = open_run_images(trained.run, data_dir)
    images = first_images(dataset, "test", VERIFIED_IMAGES)
    with ProgressBar("converting", patience=1.0) as progress:
        export = convert(trained, dataset.class_names, export_dir, progress.update, fit=dataset.fit)
    with ProgressBar("verifying") as progress:
        report = verify(trained, export, images, thresholds, progress.update)
    for line in report.summary:
        console.print(line)
    if not report.ok:
        raise UserError("the exported model does not do what the Keras model does; see above")

    console.rule("4 of 4: timing on this machine, one thread")
    few = images[:TIMED_IMAGES]
    with ProgressBar("timing") as progress:
        timed = benchmark(trained, export, few, thresholds, TIMED_SECONDS, 0, progress.update)

    console.print(closing_table(evaluated, timed))
    for what, path in (
        ("model for phones", export.tflite),
        ("model for TF Serving", export.saved_model),
        ("its description", export.folder / names.DESCRIPTION_FILE),
        ("training run", workdir),
        ("these numbers", f"{output}/results.json"),
    ):
        console.print(f"{what:22}{path}", soft_wrap=True)
    write_text(output / "results.json", json.dumps(_report(evaluated, timed), indent=2) + "\n")
    console.print(f"done in {(time.monotonic() - started) / 60:.1f} minutes")


def closing_table(evaluated: list[ThresholdResult], timed: list[BenchmarkResult]) -> Table:
    """Makes a table by threshold: accuracy and cost of the test set, latency of some images."""
    full = int(max(result.macs.max for result in evaluated))
    rows = []
    for result, timing in zip(evaluated, timed, strict=True):
        cells = result_cells(result, full)
        rows.append(
            {name: cells[name] for name in ("T", "accuracy %", "params k", "MACs M", "MACs / all")}
            | {
                "median ms": f"{timing.routed_median_ms:.3f}",
                "p90 ms": f"{timing.routed_p90_ms:.3f}",
                "ms / dense": f"{timing.ratio:.2f}",
            }
        )
    dense = f"the dense graph takes {timed[0].dense_median_ms:.3f} ms"
    return cells_table(rows, f"routed .tflite; {dense}")


def _report(evaluated, timed) -> list[dict]:
    return [
        result.to_dict()
        | {
            "median_ms": timing.routed_median_ms,
            "p90_ms": timing.routed_p90_ms,
            "dense_median_ms": timing.dense_median_ms,
            "ratio": timing.ratio,
        }
        for result, timing in zip(evaluated, timed, strict=True)
    ]


if __name__ == "__main__":
    flags.DEFINE_string("output", "runs/digits", "Folder for everything that is made.")
    command_line.run(main)
