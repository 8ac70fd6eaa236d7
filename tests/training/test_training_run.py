"""The training command as a user runs it: progress, resumption, refusals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from tensorflow.python.framework.config import disable_op_determinism

from drnet_tf import command_line, evaluate, train, training_flags
from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.runs.checkpoints import list_checkpoints
from drnet_tf.runs.telemetry import read_epochs
from drnet_tf.runs.workdir import claimed, load_trained
from tests.source_tree import ROOT
from tests.training.commands import run_command

TINY = [
    "--model=drnet_xs.digits",
    "--dataset=digits",
    "--image_size=8",
    "--cells=1",
    "--channels=4",
    "--nodes=2",
    "--branches=sep_conv_3x3,max_pool_3x3,skip",
    "--batch_size=128",
    "--stage1_epochs=2",
    "--stage2_epochs=1",
    "--crop_padding=1",
    "--deterministic",
    "--checkpoint_minutes=0.0001",
    "--weight_average=0.2",
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("a data folder")


# In this process other tests would be slowed down, or refused operations.
AS_IS = "--nodeterministic"


def command(*arguments):
    return [sys.executable, "-m", "drnet_tf.train", *arguments]


def run(*arguments, timeout=240):
    """Trains in a process of its own."""
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )


@pytest.fixture
def nondeterministic_again():
    """Undoes --deterministic after a test that trains in this process."""
    yield
    disable_op_determinism()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    workdir = tmp_path_factory.mktemp("undisturbed")
    result = run(*TINY, f"--data_dir={data_dir}", f"--workdir={workdir}")
    assert result.returncode == 0, result.stderr
    return workdir


def final_arrays(workdir):
    with np.load(list_checkpoints(workdir)[-1]) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(finished, tmp_path, data_dir):
    arguments = [*TINY, f"--data_dir={data_dir}", f"--workdir={tmp_path}"]
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while len(list_checkpoints(tmp_path)) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed_at = final_arrays(tmp_path)["step"]
    # Looking at the model leaves no trace in it either.
    result = run(*arguments, "--validate_epochs=0")
    assert result.returncode == 0, result.stderr
    undisturbed, resumed = final_arrays(finished), final_arrays(tmp_path)
    assert 0 < killed_at < undisturbed["step"]
    assert undisturbed.keys() == resumed.keys()
    for name, value in undisturbed.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


def test_the_last_validation_is_that_of_the_finished_model(finished):
    (result,) = evaluate_trained(load_trained(str(finished)), [1.0], split="validation")
    last = float(read_epochs(finished)[-1]["validation_accuracy"])
    assert last == pytest.approx(result.accuracy, rel=1e-5)


def test_every_epoch_leaves_a_row_and_tensorboard_scalars(finished):
    rows = read_epochs(finished)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [row["stage"] for row in rows] == ["1", "1", "2"]
    assert [float(row["temperature"]) for row in rows[:2]] == [3.0, 3.0]
    assert float(rows[2]["resource"]) != 0.0
    assert all(float(row["validation_accuracy"]) > 0 for row in rows)
    for row in rows:  # E[R] is of multiply-accumulates here, in millions
        assert float(row["expected_resource"]) == pytest.approx(
            float(row["expected_macs"]) / 1e6, rel=1e-4
        )
    assert all(0 < float(row["input_wait"]) < 1 for row in rows)
    assert list((finished / "tensorboard").iterdir())


def test_the_finished_model_has_the_average_of_the_weights_and_loads_in_keras(finished):
    import keras

    import drnet_tf

    model = keras.saving.load_model(finished / "model.keras")
    assert isinstance(model, drnet_tf.DRNet)
    assert float(model.temperature.numpy()) < 1.0
    arrays, trained = final_arrays(finished), load_trained(str(finished)).model
    average = {k: v for k, v in arrays.items() if k.startswith("average/")}
    assert len(average) == len(model.weights) - 1  # all but the temperature
    for name, value in average.items():
        path = name.removeprefix("average/")
        assert not np.array_equal(value, arrays["model/" + path]), path
        for used in (model, trained):
            (weight,) = (w for w in used.weights if w.path == path)
            np.testing.assert_array_equal(np.asarray(weight), value, err_msg=path)


def test_a_finished_run_has_nothing_left_to_do(finished, data_dir, nondeterministic_again):
    before = final_arrays(finished)
    assert run_command(train, *TINY, f"--data_dir={data_dir}", f"--workdir={finished}") is None
    for name, value in final_arrays(finished).items():
        np.testing.assert_array_equal(value, before[name])


def test_evaluation_reports_all_thresholds(finished, tmp_path):
    path = tmp_path / "results.json"
    arguments = [f"--workdir={finished}", "--thresholds=0,0.5,1", f"--json={path}"]
    assert run_command(evaluate, *arguments) is None
    thresholds = json.loads(path.read_text())["thresholds"]
    assert [entry["threshold"] for entry in thresholds] == [0.0, 0.5, 1.0]
    means = [entry["macs"]["mean"] for entry in thresholds]
    assert means == sorted(means) and means[0] < means[2]
    assert all(entry["images"] == 400 for entry in thresholds)


@pytest.fixture(scope="module")
def defined_flags():
    if "workdir" not in flags.FLAGS:
        training_flags.define_flags()


def refusal(main, *arguments):
    """What `main` says when it refuses its arguments, without the seconds of a new process."""
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as refused:
        command_line.run(main, ["program", *arguments])
    return str(refused.value.code)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model=drnet_q.digits"], "unknown model 'drnet_q.digits'"),
        (["--learning_rate1=-1"], "learning_rate1 must be more than 0"),
        (["--batch_size=many"], "batch_size"),
        (["--recalibration=max"], "recalibration"),
        (["--stage1_epochz=3"], "stage1_epochz"),
        (["--channels=0"], "channels must be a whole number of at least 2"),
        (["--branches=conv_9x9"], "unknown branch 'conv_9x9'"),
        (["--model=drnet_l.imagenet"], "has 10 classes"),
        (["--batch_size=5000"], "batch size 5000 is larger than the train split"),
        (["stray"], "unexpected argument 'stray'"),
    ],
)
def test_flags_without_meaning_are_refused_before_any_work(
    tmp_path, data_dir, defined_flags, arguments, says
):
    workdir = tmp_path / "run"
    line = refusal(train.main, *TINY, f"--data_dir={data_dir}", f"--workdir={workdir}", *arguments)
    assert line.startswith("error: ") and "\n" not in line
    assert says in line
    assert not workdir.exists()


def test_another_run_in_the_workdir_is_not_overwritten(finished, data_dir, defined_flags):
    line = refusal(train.main, *TINY, f"--data_dir={data_dir}", f"--workdir={finished}", "--seed=9")
    assert "holds another run: its seed is 0, not 9" in line


def test_a_run_of_a_version_without_a_setting_resumes_where_the_setting_is_off(
    finished, tmp_path, data_dir, defined_flags
):
    run_file = tmp_path / "run.json"
    values = json.loads((finished / "run.json").read_text())
    del values["recipe"]["norm_moments_threshold"], values["recipe"]["weight_average"]
    run_file.write_text(json.dumps(values))
    arguments = [*TINY, f"--data_dir={data_dir}", f"--workdir={tmp_path}"]
    assert "its weight_average is 0.0, not 0.2" in refusal(train.main, *arguments)
    with claimed(str(tmp_path)):  # so that nothing is trained here
        line = refusal(train.main, *arguments, "--weight_average=0")
    assert "another process trains in" in line


def test_a_loss_that_is_not_finite_stops_with_the_step(tmp_path, data_dir):
    line = run_command(
        train,
        *TINY,
        AS_IS,
        f"--data_dir={data_dir}",
        f"--workdir={tmp_path}",
        "--learning_rate1=1e30",
        "--clip_norm=0",
    )
    assert line.startswith("error: ") and "\n" not in line
    assert "the loss is" in line and "at step" in line


def test_a_workdir_without_a_run_gives_one_line_and_no_traceback(tmp_path):
    line = run_command(evaluate, f"--workdir={tmp_path}")
    assert line.startswith("error: ") and "no workdir" in line and "\n" not in line


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--seed=-1", "seed must be between"),
        ("--dtype=float8", "dtype must be one of"),
        ("--checkpoint_minutes=nan", "checkpoint_minutes must be"),
        ("--validate_epochs=-1", "validate_epochs must be"),
        ("--recipe=slow", "recipe"),
        ("--norm_moments_threshold=some", "norm_moments_threshold"),
    ],
)
def test_settings_without_meaning_are_refused(tmp_path, defined_flags, argument, says):
    workdir = tmp_path / "run"
    line = refusal(train.main, *TINY, f"--workdir={workdir}", argument)
    assert says in line and "\n" not in line
    assert not workdir.exists()


def test_checkpoints_that_nothing_describes_are_not_adopted(finished, tmp_path, defined_flags):
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    line = refusal(train.main, *TINY, f"--workdir={tmp_path}")
    assert "no run.json" in line
    assert not (tmp_path / "run.json").exists()


def test_two_processes_do_not_train_in_one_workdir(tmp_path, data_dir, defined_flags):
    with claimed(str(tmp_path)):
        line = refusal(train.main, *TINY, f"--data_dir={data_dir}", f"--workdir={tmp_path}")
    assert "another process trains in" in line
    assert not (tmp_path / "run.json").exists()


def test_a_run_on_an_npz_file_has_norm_moments_of_its_own_and_can_be_evaluated(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 8), ("test", 5)):
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 8, 8, 3), "uint8")
        arrays[f"{split}_labels"] = (np.arange(count) % 3).astype("int32")
    np.savez(tmp_path / "set.npz", **arrays, class_names=np.array(["a", "b", "c"]))
    workdir = tmp_path / "run"
    refused = run_command(
        train,
        *TINY,
        AS_IS,
        f"--workdir={workdir}",
        f"--dataset={tmp_path / 'set.npz'}",
        "--classes=3",
        "--input_pipeline=device",
        "--batch_size=4",
        "--nodes=1",
        "--norm_moments_threshold=0.5",
        "--norm_moments_images=5",
    )
    assert refused is None
    record = json.loads((workdir / "norm_moments.json").read_text())
    assert (record["threshold"], record["images"]) == (0.5, 8)
    arrays, model = final_arrays(workdir), load_trained(str(workdir)).model
    moments = [w for w in model.weights if "moving" in w.path]
    for moment in moments:
        used = arrays[f"norm_moments/{moment.path}"]
        np.testing.assert_array_equal(np.asarray(moment), used)
        assert not np.array_equal(used, arrays[f"model/{moment.path}"])
    (only,) = evaluate_trained(load_trained(str(workdir)), [0.5])
    assert only.images == 5


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_from_which_the_run_resumes(tmp_path, data_dir):
    arguments = [*TINY, f"--data_dir={data_dir}", f"--workdir={tmp_path}", "--stage1_epochs=500"]
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 200
    while not list_checkpoints(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "repeat the command to resume" in errors and "Traceback" not in errors
    assert final_arrays(tmp_path)["step"] > 0


def test_a_run_begins_with_the_weights_of_another(finished, tmp_path, data_dir):
    # A learning rate of nothing: what it ends with is what it began with.
    still = ["--stage1_epochs=0.1", "--stage2_epochs=0", "--learning_rate1=1e-30"]
    refused = run_command(
        train,
        *TINY,
        AS_IS,
        *still,
        "--weight_average=0",
        f"--initial_weights={finished}",
        f"--workdir={tmp_path / 'second'}",
        f"--data_dir={data_dir}",
    )
    assert refused is None
    first, second = (load_trained(str(path)).model for path in (finished, tmp_path / "second"))
    pairs = zip(first.trainable_variables, second.trainable_variables, strict=True)
    for before, after in pairs:
        np.testing.assert_allclose(np.asarray(after), np.asarray(before), atol=1e-6)


def test_initial_weights_of_another_architecture_are_refused(finished, tmp_path, defined_flags):
    arguments = ["--nodes=3", f"--initial_weights={finished}", f"--workdir={tmp_path}"]
    assert "its nodes is 2, not 3" in refusal(train.main, *TINY, *arguments)


def test_autoaugment_goes_with_deterministic_operations(tmp_path, data_dir, nondeterministic_again):
    refused = run_command(
        train,
        *TINY,
        "--autoaugment=cifar10",
        "--epochs=0.2",
        "--validate_epochs=0",
        f"--data_dir={data_dir}",
        f"--workdir={tmp_path / 'run'}",
    )
    assert refused is None
