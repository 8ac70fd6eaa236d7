"""Trains a model as every other one is trained, so that families can be set side by side.

    python -m benchmarks.equal_training --model=drnet_s.cifar10 --data_dir=DIR

CIFAR-10: 45,000 training images, 4 epochs, batches of 128, random crops (padding 4) and flips, no
cutout and no AutoAugment. Each model is trained with two learning rates at seed 0. The one with the
better accuracy on the 5,000 validation images, with all units, is trained at seed 1 too.

The two rates, 0.1 and 0.05, belong to the benchmark and are the same for every family, which gives
all else: its recipe "fast", shortened, with its learning rates multiplied by one number that makes
the highest of them the benchmark's. A DRNet's second stage, for example, has a fifth of it.

Each finished run adds a row to docs/results/equal_training.csv; what has a row is not trained
again. If the command is interrupted, repeat it: it resumes. It runs at low priority, and so does
all else that was started in its session where the system groups processes by session.

Four epochs are too few for any of the networks to be as good as it gets: the table says how they
learn from equally much work, not which is best.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import io
import os
import pathlib
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import keras
from absl import flags
from rich.console import Console

from benchmarks.child_turns import available_cores
from drnet_tf import command_line
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.errors import UserError
from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.machine import cpu_name
from drnet_tf.models.registry import find_family, list_models, model_config
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.telemetry import read_epochs
from drnet_tf.runs.workdir import Run, load_trained
from drnet_tf.training.session import train
from drnet_tf.writing import check_writable, write_text

DATASET = "cifar10"
EPOCHS = 4
BATCH_SIZE = 128
LEARNING_RATES = (0.1, 0.05)
FIRST_SEED, SECOND_SEED = 0, 1
RECIPE = "fast"
TABLE = "docs/results/equal_training.csv"
WORKDIR = "runs/equal_training"
NICENESS = 10
AUTOGROUP = pathlib.Path("/proc/self/autogroup")
#: Columns of the table. Accuracies are shares of the images, `images` those that training saw,
#: `seconds` those of its steps alone, `knob` the family's default, empty where nothing routes.
COLUMNS = (
    "date",
    "commit",
    "model",
    "family",
    "params",
    "macs",
    "epochs",
    "images",
    "seed",
    "learning_rate",
    "validation_accuracy",
    "test_accuracy",
    "knob",
    "test_accuracy_at_knob",
    "macs_at_knob",
    "seconds",
    "images_per_second",
    "cpu",
    "threads",
    "backend",
)

Rows = Sequence[dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Job:
    """Names what to train next."""

    learning_rate: float
    seed: int

    @property
    def name(self) -> str:
        """Returns the name of its workdir."""
        return f"{self.learning_rate:g}_{self.seed}"


def next_job(rows: Rows, model: str, epochs: float = EPOCHS) -> Job | None:
    """Finds what to train next.

    Args:
        rows: of the table, of any models.
        model: registered name.
        epochs: length of a run.

    Returns:
        None where all is done.
    """
    accuracies = {
        Job(float(row["learning_rate"]), int(row["seed"])): float(row["validation_accuracy"])
        for row in rows
        if row["model"] == model and float(row["epochs"]) == epochs
    }
    first = [Job(rate, FIRST_SEED) for rate in LEARNING_RATES]
    best = max(first, key=lambda job: accuracies.get(job, 0.0))
    jobs = [*first, Job(best.learning_rate, SECOND_SEED)]
    return next((job for job in jobs if job not in accuracies), None)


def recipe_of(model: str, learning_rate: float, epochs: float = EPOCHS) -> Any:
    """Returns the recipe of a model's family with the benchmark's length and learning rate."""
    recipe = find_family(model).recipes[RECIPE].of_epochs(epochs)
    rates = {
        field.name: getattr(recipe, field.name)
        for field in dataclasses.fields(recipe)
        if field.name.startswith("learning_rate") and field.name != "learning_rate_schedule"
    }
    highest = max(rates.values())
    # In this order the highest is the benchmark's to the bit.
    scaled = {name: rate / highest * learning_rate for name, rate in rates.items()}
    return dataclasses.replace(recipe, batch_size=BATCH_SIZE, **scaled)


def run_of(
    model: str, job: Job, data_dir: str | None = None, dataset: str = DATASET, epochs=EPOCHS
) -> Run:
    """Describes the training run of a job."""
    config = model_config(model)
    return Run(
        model,
        config,
        dataset,
        recipe_of(model, job.learning_rate, epochs),
        Augmentation(crop_padding=4, flip=True, fill=config.mean),
        Settings(
            data_dir=data_dir,
            input_pipeline="device",
            seed=job.seed,
            # Looked at after the run.
            validate_epochs=0,
        ),
    )


def train_job(workdir: str, run: Run) -> dict[str, Any]:
    """Trains, or resumes, and evaluates.

    Returns:
        The row of the table, without its date and commit.
    """
    train(workdir, run)
    trained = load_trained(workdir)
    knob = run.family.knob
    thresholds = (None,) if knob is None else (None, knob.default)
    (validated,) = evaluate_trained(trained, (None,), split="validation")
    tested = evaluate_trained(trained, thresholds, split="test")
    at_knob = {}
    if knob is not None:
        at_knob = {
            "knob": f"{knob.default:g}",
            "test_accuracy_at_knob": f"{tested[1].accuracy:.4f}",
            "macs_at_knob": round(tested[1].macs.mean),
        }
    total = trained.model.cost.total
    images, seconds = _work(workdir, run.recipe.batch_size)
    return {
        "model": run.model,
        "family": run.family.name,
        "params": total.params,
        "macs": total.macs,
        "epochs": f"{run.recipe.epochs:g}",
        "images": images,
        "seed": run.settings.seed,
        "validation_accuracy": f"{validated.accuracy:.4f}",
        "test_accuracy": f"{tested[0].accuracy:.4f}",
        **at_knob,
        "seconds": f"{seconds:.1f}",
        "images_per_second": f"{images / seconds:.1f}",
        "cpu": cpu_name(),
        "threads": available_cores(),
        "backend": keras.backend.backend(),
    }


def _work(workdir: str, batch_size: int) -> tuple[int, float]:
    """Returns the images that a run saw, and the seconds of its steps.

    The rate of an epoch that was interrupted is that of the steps since then.
    """
    epochs = read_epochs(workdir, ("step", "steps", "images_per_second"))
    seen = [batch_size * int(row["steps"]) for row in epochs]
    rates = [float(row["images_per_second"]) for row in epochs]
    timed = sum(images / rate for images, rate in zip(seen, rates, strict=True))
    images = batch_size * int(epochs[-1]["step"])
    return images, timed * images / sum(seen)


def train_all(
    model: str,
    table: pathlib.Path,
    workdir: pathlib.Path,
    train_one: Callable[[str, Job], dict[str, Any]],
    commit: str,
    epochs: float = EPOCHS,
) -> None:
    """Trains what is missing in the table, and adds its rows.

    Args:
        table: the CSV file.
        workdir: folder of the workdirs of the runs.
        train_one: trains a job in a workdir and returns its row, as `train_job`.
        commit: of the code.
        epochs: length of a run.
    """
    while (job := next_job(read_rows(table), model, epochs)) is not None:
        row = train_one(str(workdir / model / job.name), job)
        row |= {"learning_rate": f"{job.learning_rate:g}", "commit": commit}
        row["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
        append_row(table, row)


def read_rows(table: pathlib.Path) -> list[dict[str, str]]:
    """Reads the table; no rows where there is no file.

    Raises:
        UserError: it has other columns.
    """
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise UserError(f"{table} has other columns than this version writes: move it away")
        return list(reader)


def append_row(table: pathlib.Path, row: dict[str, Any]) -> None:
    """Adds a row; whenever the process is killed, the file is whole, with it or without."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    # Read again: another process may have added rows meanwhile.
    writer.writerows([*read_rows(table), row])
    write_text(table, text.getvalue())


def commit_here() -> str:
    """Returns the short hash of the commit, with "+" where files differ from it; "" without Git.

    The tables of results do not count as files: each row changes one.
    """
    root = pathlib.Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ".", ":(exclude)docs/results")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def lower_priority() -> None:
    """Gives way to other work, of this session's group of processes too where there are groups."""
    os.nice(NICENESS)
    # Between groups the niceness of a process does not count.
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(str(NICENESS))


def define_flags() -> None:
    flags.DEFINE_enum("model", None, list_models(), "Registered model for CIFAR-10.")
    flags.DEFINE_string("data_dir", None, "Folder of the prepared data set.")
    flags.DEFINE_string("workdir", WORKDIR, "Folder of the runs; those in it are resumed.")
    flags.DEFINE_string("table", TABLE, "CSV file that rows are added to.")


def main() -> None:
    values = flags.FLAGS
    if not values.model:
        raise UserError("--model is needed: a registered model for CIFAR-10")
    if not values.model.endswith(f".{DATASET}"):
        raise UserError(f"--model must be one for {DATASET}, not {values.model}")
    table = pathlib.Path(values.table)
    check_writable(table)
    lower_priority()

    def train_one(workdir: str, job: Job) -> dict[str, Any]:
        return train_job(workdir, run_of(values.model, job, values.data_dir))

    train_all(values.model, table, pathlib.Path(values.workdir), train_one, commit_here())
    console = Console()
    for row in read_rows(table):
        if row["model"] == values.model:
            console.print(
                f"{row['model']}: learning rate {row['learning_rate']}, seed {row['seed']}: "
                f"test accuracy {row['test_accuracy']}, {row['images_per_second']} images per "
                "second in training",
                highlight=False,
            )


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
