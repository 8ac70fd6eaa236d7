"""The report of a run, of files that are written here: nothing is trained."""

import numpy as np
import pytest

from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.models import build_from_config, model_config
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.report import __main__ as report
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.telemetry import EpochLog, macs_column
from drnet_tf.runs.workdir import Run, load_trained
from tests.training.commands import run_command

EPOCHS = (
    {"epoch": 0, "stage": 1, "steps": 7, "accuracy": 0.25, "images_per_second": 40.0},
    {"epoch": 1, "stage": 1, "steps": 3, "accuracy": 0.5, "images_per_second": 20.0},
    {"epoch": 2, "stage": 2, "steps": 7, "accuracy": 0.75, "images_per_second": 40.0}
    | {macs_column(0.8): 2.5e6},
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 8), ("test", 6)):
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 8, 8, 3), "uint8")
        arrays[f"{split}_labels"] = (np.arange(count) % 3).astype("int32")
    path = tmp_path_factory.mktemp("data") / "set.npz"
    np.savez(path, **arrays, class_names=np.array(["a", "b", "c"]))
    return path


@pytest.fixture
def workdir(dataset, tmp_path):
    folder = tmp_path / "run"
    changes = {"image_size": 8, "classes": 3, "cells": 1, "channels": 4, "nodes": 1}
    config = model_config("drnet_xs.digits", branches=("max_pool_3x3", "skip"), **changes)
    recipe = Recipe(batch_size=4, weight_average=0.2)
    folder.mkdir()
    run = Run("drnet_xs.digits", config, str(dataset), recipe, settings=Settings(seed=5))
    run.save(str(folder))
    Checkpoint.of(21, build_from_config(config)).write(str(folder))
    log = EpochLog(str(folder), 0)
    for epoch in EPOCHS:
        log.append(epoch)
    return folder


def write_report(workdir, output, thresholds=(0.0, 1.0)):
    return run_command(
        report,
        f"--workdir={workdir}",
        f"--output={output}",
        f"--thresholds={','.join(map(str, thresholds))}",
    )


def test_has_the_command_the_epochs_and_the_results_of_the_run(workdir, tmp_path):
    output = tmp_path / "reports" / "run.md"
    thresholds = (0.0, 0.5, 1.0)
    assert write_report(workdir, output, thresholds) is None
    text = output.read_text()
    # The command is longer than a line, as a shell reads it.
    joined = " ".join(text.replace(" \\\n", " ").split())
    assert "\n    python -m drnet_tf.train --model=drnet_xs.digits" in text
    assert "python -m drnet_tf.train --model=drnet_xs.digits --dataset=" in joined
    assert "21 steps of 4 images" in text and "seed 5" in text
    # 28 images at 40 a second, 12 at 20, 28 at 40: 68 in 2 seconds.
    assert ", 34 images per second, " in text
    trained = load_trained(str(workdir))
    for result in evaluate_trained(trained, thresholds):
        row = f"| {result.threshold:g} | {100 * result.accuracy:.2f} | "
        assert row + f"{result.params.mean / 1e3:.1f} | {result.macs.mean / 1e6:.2f} |" in text
    assert text.count("\n| ") == 2 + len(thresholds) + len(EPOCHS)
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert str(workdir) not in text


def test_rows_of_epochs_tell_how_many_steps_they_are_of(workdir, tmp_path):
    assert write_report(workdir, tmp_path / "run.md") is None
    lines = (tmp_path / "run.md").read_text().splitlines()
    heading = next(line for line in lines if line.startswith("| epoch |"))
    names = [name.strip() for name in heading.split("|")]
    assert names[1:4] == ["epoch", "stage", "steps"]
    assert [line.split("|")[1:5] for line in lines[-3:]] == [
        [" 1 ", " 1 ", " 7 ", " 25.0 "],
        [" 2 ", " 1 ", " 3 ", " 50.0 "],
        [" 3 ", " 2 ", " 7 ", " 75.0 "],
    ]


@pytest.mark.parametrize("name", ["norm_moments.json", "recalibration.json"])  # now, and earlier
def test_norm_moments_are_told(workdir, tmp_path, name):
    (workdir / name).write_text('{"threshold": 0.8, "images": 99, "step": 21}')
    assert write_report(workdir, tmp_path / "run.md") is None
    text = (tmp_path / "run.md").read_text()
    assert "the moments of batch normalization are those of 99 training images at T = 0.8" in text
    assert "averaged with a time constant of 0.2 of the run" in text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--workdir={}", "--output=run.txt"], "--output must be a file that ends in .md"),
        (["--output=run.md"], "needed: --workdir, the folder of a training run"),
    ],
)
def test_report_that_cannot_be_written_is_refused(workdir, arguments, problem):
    line = run_command(report, *(argument.format(workdir) for argument in arguments))
    assert problem in str(line)


DAMAGED = [
    ("metrics.csv", "", "has no finished epoch"),
    ("metrics.csv", "loss\n2.5\n", "has no column 'epoch'"),
    ("metrics.csv", "epoch,stage,steps\n0,1,7\n", "has no column 'images_per_second'"),
    ("metrics.csv", "epoch,stage,steps,images_per_second\n0,1,", "is damaged"),
    ("metrics.csv", "epoch,stage,steps,images_per_second\n0,1,7,40,9\n", "is damaged"),
    ("metrics.csv", "epoch,stage,steps,images_per_second\n0,1,7,fast\n", "is damaged"),
    ("metrics.csv", "epoch,stage,steps,images_per_second\n0,1,nan,40\n", "is damaged"),
    ("metrics.csv", "epoch,stage,steps,images_per_second,accuracy\n0,1,7,40,x\n", "is damaged"),
    ("metrics.csv", "\x00\x01", "has no column 'epoch'|is damaged|no finished epoch"),
    ("norm_moments.json", "{", "norm_moments.json is damaged"),
    ("norm_moments.json", "[]", "norm_moments.json is damaged"),
    ("recalibration.json", '{"images": 9}', "recalibration.json is damaged"),
]


@pytest.mark.parametrize(("name", "content", "says"), DAMAGED)
def test_damaged_file_of_a_run_is_named_in_one_line(workdir, tmp_path, name, content, says):
    (workdir / name).write_text(content)
    line = write_report(workdir, tmp_path / "run.md")
    assert isinstance(line, str) and line.startswith("error: ") and "\n" not in line
    assert any(part in line for part in says.split("|"))
    assert not (tmp_path / "run.md").exists() and not (tmp_path / "run.png").exists()
