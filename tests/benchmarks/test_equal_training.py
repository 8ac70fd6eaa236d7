"""The benchmark of equal training: what is trained next, how, and what is written down."""

import csv
import dataclasses

import pytest

from benchmarks import equal_training
from benchmarks.equal_training import COLUMNS, Job, append_row, next_job, read_rows, recipe_of
from drnet_tf.errors import UserError

MODEL = "mobilenet_v2.cifar10"


def row(rate, seed, accuracy, model=MODEL, epochs="4"):
    return {
        "model": model,
        "learning_rate": rate,
        "seed": seed,
        "validation_accuracy": accuracy,
        "epochs": epochs,
    }


def test_both_rates_are_trained_at_seed_0_and_the_better_one_at_seed_1():
    rows = []
    for job, accuracy in (
        (Job(0.1, 0), "0.70"),
        (Job(0.05, 0), "0.75"),
        (Job(0.05, 1), "0.72"),
    ):
        assert next_job(rows, MODEL) == job
        rows.append(row(f"{job.learning_rate:g}", str(job.seed), accuracy))
    assert next_job(rows, MODEL) is None


def test_of_equal_rates_the_higher_one_is_taken():
    rows = [row("0.1", "0", "0.7"), row("0.05", "0", "0.7")]
    assert next_job(rows, MODEL) == Job(0.1, 1)


def test_rows_of_other_models_and_lengths_do_not_count():
    rows = [row("0.1", "0", "0.7", model="drnet_s.cifar10"), row("0.1", "0", "0.7", epochs="30")]
    assert next_job(rows, MODEL) == Job(0.1, 0)
    assert next_job(rows, MODEL, epochs=30) == Job(0.05, 0)


def test_recipes_of_both_families_are_those_of_the_benchmark():
    plain, routed = (recipe_of(model, 0.05) for model in (MODEL, "drnet_s.cifar10"))
    assert plain.learning_rate == 0.05
    assert routed.learning_rate1 == 0.05
    assert routed.learning_rate2 == pytest.approx(0.01)
    for recipe in (plain, routed):
        assert recipe.epochs == pytest.approx(4)
        assert recipe.batch_size == 128
        assert recipe.learning_rate_schedule == "triangular"


def test_run_is_trained_without_validation_images_cutout_and_autoaugment():
    run = equal_training.run_of(MODEL, Job(0.1, 1), "some/folder")
    assert not run.settings.train_on_validation
    assert (run.settings.seed, run.settings.data_dir) == (1, "some/folder")
    augmentation = run.augmentation
    assert (augmentation.crop_padding, augmentation.flip) == (4, True)
    assert (augmentation.cutout, augmentation.autoaugment) == (0, None)
    assert augmentation.fill == run.config.mean


def test_finished_runs_are_written_down_and_not_trained_again(tmp_path):
    table, trained = tmp_path / "results" / "table.csv", []

    def train_one(workdir, job):
        trained.append((workdir, job))
        accuracy = 0.8 if job.learning_rate == 0.1 else 0.6
        values = row("", str(job.seed), str(accuracy))
        del values["learning_rate"]
        return values

    for _ in range(2):
        equal_training.train_all(MODEL, table, tmp_path / "runs", train_one, "abc1234+")
    assert [job for _, job in trained] == [Job(0.1, 0), Job(0.05, 0), Job(0.1, 1)]
    assert trained[1][0] == str(tmp_path / "runs" / MODEL / "0.05_0")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [r["learning_rate"] for r in rows] == ["0.1", "0.05", "0.1"]
    assert {r["commit"] for r in rows} == {"abc1234+"}
    assert {r["macs_at_knob"] for r in rows} == {""}
    assert not list(tmp_path.glob("results/.*"))


def test_interrupted_run_leaves_no_row(tmp_path):
    table = tmp_path / "table.csv"
    append_row(table, row("0.1", "0", "0.7"))

    def train_one(workdir, job):
        assert job == Job(0.05, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        equal_training.train_all(MODEL, table, tmp_path, train_one, "")
    assert len(read_rows(table)) == 1


def test_table_of_another_version_is_refused(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("model,seed\nx,0\n")
    with pytest.raises(UserError, match="other columns"):
        read_rows(table)


def test_time_of_a_run_that_was_interrupted_is_that_of_all_its_images(tmp_path):
    # Of the second epoch 6 of 10 steps were done before it was interrupted.
    (tmp_path / "metrics.csv").write_text(
        "epoch,step,steps,images_per_second\n0,10,10,100\n1,20,4,100\n"
    )
    images, seconds = equal_training._work(str(tmp_path), 5)
    assert (images, seconds) == (100, pytest.approx(1.0))


def test_columns_are_those_that_a_run_fills():
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert {field.name for field in dataclasses.fields(Job)} <= set(COLUMNS)
