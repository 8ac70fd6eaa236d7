"""Images are served as the data set of a run asks for, whoever names the classes."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from drnet_tf.data.fit import Fit
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.workdir import Run
from export.convert import __main__ as command
from export.convert import conversion
from export.folder.export import Export
from tests.export.routed_model import CLASS_NAMES, CONFIG, model_with_varied_routing
from tests.training.commands import run_command


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with a data set of images that are not square."""
    folder = tmp_path_factory.mktemp("sets")
    features = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(num_classes=len(CLASS_NAMES)),
    }
    examples = [
        {"image": np.full((20 + i, 30, 3), i, np.uint8), "label": i % len(CLASS_NAMES)}
        for i in range(8)
    ]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="photos",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": enumerate(examples), "test": enumerate(examples)},
        data_dir=folder,
    )
    return folder


@pytest.fixture
def convert(tmp_path, monkeypatch):
    """Converts a run of that data set with --labels; returns the export, or why it was refused."""
    monkeypatch.setattr(conversion, "_checked_tflite", lambda graph, plan: (b"quicker", {}))
    monkeypatch.setattr(conversion, "write_saved_model", lambda *_: None)
    monkeypatch.setattr(conversion, "write_serving_files", lambda *_: None)
    (tmp_path / "labels.txt").write_text("\n".join(CLASS_NAMES))

    def convert(fit, data_dir, *arguments):
        workdir = tmp_path / "run"
        # Trained without random crops, of which nothing about the data set follows.
        run = Run("drnet_xs.digits", CONFIG, "photos", settings=Settings(str(data_dir)), fit=fit)
        run.save(str(workdir))
        Checkpoint.of(7, model_with_varied_routing(CONFIG)).write(str(workdir))
        given = (f"--workdir={workdir}", f"--output={tmp_path}/export", *arguments)
        line = run_command(command, *given, f"--labels={tmp_path}/labels.txt")
        return line or Export.open(tmp_path / "export")

    return convert


def test_centre_is_cropped_as_the_run_says_without_the_data_set(convert, tmp_path):
    export = convert(Fit.CENTRE_CROP, tmp_path / "nowhere")
    assert export.description["serving"]["encoded_images"] == "centre crop"
    assert export.fit is Fit.CENTRE_CROP
    assert export.class_names == CLASS_NAMES


def test_data_set_tells_what_a_run_of_an_earlier_version_does_not(convert, photos):
    export = convert(None, photos)
    assert export.description["serving"]["encoded_images"] == "centre crop"


def test_data_dir_is_asked_for_where_nothing_tells(convert, photos, tmp_path):
    line = convert(None, tmp_path / "nowhere")
    assert "does not say how its images are resized" in line and "give --data_dir" in line
    assert "\n" not in line
    assert not (tmp_path / "export").exists()
    assert convert(None, tmp_path / "nowhere", f"--data_dir={photos}").fit is Fit.CENTRE_CROP


def test_run_writes_its_fit_down(tmp_path):
    run = Run("drnet_xs.digits", CONFIG, "photos", fit=Fit.CENTRE_CROP)
    run.save(str(tmp_path))
    assert json.loads((tmp_path / "run.json").read_text())["fit"] == "centre crop"
    assert Run.load(str(tmp_path)) == dataclasses.replace(run)
