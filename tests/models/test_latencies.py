"""Latency as the resource of Eq. 8: the file, what it is refused for, and a run with it."""

import dataclasses
import json

import numpy as np
import pytest

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.errors import UserError
from drnet_tf.models.cost import expected_resource
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.latencies import LatencyTable
from drnet_tf.models.registry import model_config
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.telemetry import read_epochs
from drnet_tf.runs.workdir import Run
from drnet_tf.training.session import train

CONFIG = DRNetConfig(
    image_size=8, classes=10, cells=1, channels=4, nodes=1, branches=("sep_conv_3x3", "skip")
)

# One cell, two connections, two branches.
BRANCHES = [[[30.0, 2.0], [50.0, 0.0]]]

VALUES = {
    "unit": "microseconds",
    "date": "2026-01-01",
    "config": CONFIG.to_dict(),
    "fixed": 100.0,
    "branches": BRANCHES,
}


def write(folder, **changes):
    path = folder / "latency.json"
    path.write_text(json.dumps(VALUES | changes))
    return str(path)


def test_expected_latency_is_the_weighted_sum_of_the_table(tmp_path):
    resource = LatencyTable.read(write(tmp_path), CONFIG).resource
    weights = np.array([[[[0.25, 0.75], [0.5, 0.5]]], [[[1.0, 0.0], [0.0, 1.0]]]], "float32")
    by_hand = [100 + 0.25 * 30 + 0.75 * 2 + 0.5 * 50, 100 + 30]
    expected = expected_resource(weights, resource.units, resource.fixed)
    np.testing.assert_allclose(np.asarray(expected), by_hand, rtol=1e-6)


def test_the_content_of_a_file_survives_reading_and_writing(tmp_path):
    assert LatencyTable.read(write(tmp_path), CONFIG).to_dict() == VALUES | {"family": "drnet"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"branches": BRANCHES[0]}, r"must have the shape \[1, 2, 2\], not \[2, 2\]"),
        ({"branches": [[[1.0], [2.0, 3.0]]]}, "no table of latencies"),
        ({"branches": [[[30.0, -2.0], [50.0, 0.0]]]}, "0 or more"),
        ({"branches": [[[30.0, float("nan")], [50.0, 0.0]]]}, "0 or more"),
        ({"fixed": 0.0}, "fixed must be"),
        ({"unit": "milliseconds"}, "unit must be microseconds"),
        ({"config": {"nodes": 1}}, "no table of latencies"),
        (
            {"config": dataclasses.replace(CONFIG, channels=6).to_dict()},
            "its channels is 6, not 4; measure this one",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, changes, says):
    with pytest.raises(UserError, match=f"latency.json does not serve: .*{says}"):
        LatencyTable.read(write(tmp_path, **changes), CONFIG)


def test_a_missing_or_damaged_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        LatencyTable.read(tmp_path / "latency.json", CONFIG)
    (tmp_path / "latency.json").write_text("{")
    with pytest.raises(UserError, match="is no JSON file"):
        LatencyTable.read(tmp_path / "latency.json", CONFIG)


def test_a_table_of_another_recalibration_or_normalization_serves(tmp_path):
    other = dataclasses.replace(CONFIG, recalibration="softmax", mean=(1.0, 2.0, 3.0))
    LatencyTable.read(write(tmp_path), other)


def test_a_table_without_its_resource_is_refused():
    with pytest.raises(UserError, match="latency_table goes with --resource=latency"):
        Settings(latency_table="latency.json")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def run(workdir, data_dir, table):
    recipe = Recipe(stage1_epochs=0, stage2_epochs=0.3, batch_size=128, resource_weight=1.0)
    settings = Settings(data_dir=data_dir, resource="latency", latency_table=table)
    return train(
        str(workdir), Run("drnet_xs.digits", CONFIG, "digits", recipe, Augmentation(), settings)
    )


def test_a_run_without_a_table_is_refused(tmp_path, data_dir):
    with pytest.raises(UserError, match="--resource=latency needs --latency_table=FILE"):
        run(tmp_path / "run", data_dir, None)
    assert not (tmp_path / "run").exists()


def test_a_run_trains_with_latency_and_keeps_its_table(tmp_path, data_dir):
    workdir, path = tmp_path / "run", write(tmp_path)
    steps = run(workdir, data_dir, path)
    assert steps > 1
    (row,) = read_epochs(workdir)
    # Of E[R] between 100 and 180 microseconds, for the share of images that are right.
    accuracy = float(row["accuracy"])
    assert accuracy * np.log(100) < float(row["resource"]) < accuracy * np.log(180)
    assert Run.load(str(workdir)).latencies == VALUES | {"family": "drnet"}
    assert run(workdir, data_dir, None) == steps, "the run has its own table"
    with pytest.raises(UserError, match="another table of latencies"):
        run(workdir, data_dir, write(tmp_path, fixed=101.0))


@pytest.mark.parametrize("resource", ["params", "latency"])
def test_a_resource_is_refused_where_nothing_routes(tmp_path, resource):
    name = "mobilenet_v2_w035.digits"
    run = Run(name, model_config(name), "digits", settings=Settings(resource=resource))
    with pytest.raises(UserError, match="has no routing: --resource has no effect"):
        train(str(tmp_path), run)
