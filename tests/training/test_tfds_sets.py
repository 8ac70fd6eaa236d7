"""From a prepared set of tensorflow-datasets to a verified export: the commands one by one."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from drnet_tf import evaluate, train
from drnet_tf.runs.telemetry import read_epochs
from export.convert import __main__ as convert
from export.verify import __main__ as verify
from tests.source_tree import ROOT
from tests.training.commands import run_command

SIZES = [(300, 260), (240, 400), (230, 230), (120, 90), (500, 333)]


def photo(generator, height, width):
    """A JPEG file of soft colours."""
    small = generator.integers(0, 256, (6, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((width, height)).save(file, "JPEG")
    return file.getvalue()


def prepare(folder, name, version, features, splits):
    """Writes a prepared set: features.json, dataset_info.json and tfrecord files."""
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: list(enumerate(values)) for split, values in splits.items()},
        data_dir=folder,
    )


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A folder with an imagenet2012 of few images, and what was put into its validation split."""
    folder = tmp_path_factory.mktemp("sets")
    generator = np.random.default_rng(0)
    names = tfds.builder("imagenet2012", data_dir=folder).info.features["label"].names
    features = {
        "file_name": tfds.features.Text(),
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=names),
    }

    def examples(split, count):
        return [
            {
                "file_name": f"{split}_{index:08d}.JPEG",
                "image": io.BytesIO(photo(generator, *SIZES[index % len(SIZES)])),
                "label": int(generator.integers(1000)),
            }
            for index in range(count)
        ]

    splits = {"train": examples("train", 100), "validation": examples("val", 6)}
    stored = [
        (value["file_name"], value["image"].getvalue(), value["label"])
        for value in splits["validation"]
    ]
    # 100, because a hundredth of them is held out for validation where it is not trained on.
    prepare(folder, "imagenet2012", "5.1.0", features, splits)
    return folder, stored


def test_tensorflow_datasets_reads_the_synthetic_imagenet(imagenet):
    folder, stored = imagenet
    version = folder / "imagenet2012" / "5.1.0"
    names = {path.name for path in version.iterdir()}
    assert {"features.json", "dataset_info.json", "label.labels.txt"} <= names
    builder = tfds.builder_from_directory(version)
    real = tfds.builder("imagenet2012", data_dir=folder)
    assert builder.info.features["label"].names == real.info.features["label"].names
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": 100,
        "validation": 6,
    }
    read = {
        example["file_name"]: (example["image"], example["label"])
        for example in tfds.as_numpy(builder.as_dataset(split="validation"))
    }
    for name, content, label in stored:
        image, read_label = read[name.encode()]
        np.testing.assert_array_equal(image, tf.io.decode_jpeg(content).numpy())
        assert read_label == label


@pytest.mark.slow
def test_imagenet_recipe_runs_from_training_to_a_verified_export(imagenet, tmp_path, capsys):
    folder, stored = imagenet
    workdir, export_dir = tmp_path / "run", tmp_path / "export"
    refused = run_command(
        train,
        f"--flagfile={ROOT / 'configs' / 'imagenet_drnet_l.flags'}",
        f"--data_dir={folder}",
        f"--workdir={workdir}",
        *("--cells=3", "--channels=4", "--nodes=1", "--batch_size=25"),
        *("--stage1_epochs=1", "--stage2_epochs=1"),
    )
    assert refused is None
    rows = read_epochs(workdir)
    assert [row["steps"] for row in rows] == ["4", "4"]
    described = json.loads((workdir / "run.json").read_text())
    recipe, augmentation = described["recipe"], described["augmentation"]
    assert recipe["label_smoothing"] == 0.1 and augmentation["autoaugment"] == "imagenet"
    assert recipe["learning_rate_schedule"] == "exponential"
    assert augmentation["random_resized_crop"] and described["fit"] == "centre crop"

    report = tmp_path / "results.json"
    assert (
        run_command(evaluate, f"--workdir={workdir}", "--thresholds=0,0.8,1", f"--json={report}")
        is None
    )
    results = json.loads(report.read_text())
    assert results["dataset"] == "imagenet2012"
    assert [entry["images"] for entry in results["thresholds"]] == [len(stored)] * 3

    assert run_command(convert, f"--workdir={workdir}", f"--output={export_dir}") is None
    assert (export_dir / "labels.txt").read_text().splitlines()[0] == "n01440764"
    assert len((export_dir / "labels.txt").read_text().splitlines()) == 1000
    capsys.readouterr()
    assert (
        run_command(
            verify,
            *(f"--workdir={workdir}", f"--export_dir={export_dir}"),
            *("--images=4", "--thresholds=0,0.5,1"),
        )
        is None
    )
    assert "agree on 4 images at 3 thresholds" in capsys.readouterr().out


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A set that the project has never heard of, of images that differ in size."""
    folder = tmp_path_factory.mktemp("sets")
    generator = np.random.default_rng(1)
    features = {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=["rose", "tulip", "aster"]),
    }

    def examples(count):
        return [
            {"image": io.BytesIO(photo(generator, 20 + index, 30)), "label": index % 3}
            for index in range(count)
        ]

    prepare(folder, "flowers", "1.0.0", features, {"train": examples(20), "test": examples(5)})
    return folder


SMALL = (
    *("--model=drnet_s.cifar10", "--dataset=flowers", "--image_size=8", "--batch_size=6"),
    *("--cells=1", "--channels=4", "--nodes=1", "--stage1_epochs=1", "--stage2_epochs=0"),
)


def test_any_set_is_trained_on_and_evaluated_by_its_name(flowers, tmp_path):
    workdir, report = tmp_path / "run", tmp_path / "results.json"
    shared = (f"--workdir={workdir}", f"--data_dir={flowers}")
    assert run_command(train, *SMALL, *shared, "--classes=3") is None
    assert [row["steps"] for row in read_epochs(workdir)] == ["3"]  # 18 of 20 are trained on
    assert run_command(evaluate, *shared, f"--json={report}", "--thresholds=1") is None
    (entry,) = json.loads(report.read_text())["thresholds"]
    assert entry["images"] == 5


def test_another_number_of_classes_than_the_models_is_one_line(flowers, tmp_path):
    line = run_command(train, *SMALL, f"--workdir={tmp_path / 'run'}", f"--data_dir={flowers}")
    assert line.startswith("error: flowers has 3 classes") and "--classes=3" in line
    assert "\n" not in line and not (tmp_path / "run").exists()


def test_damaged_record_ends_training_with_one_line(flowers, tmp_path):
    import shutil

    copy = shutil.copytree(flowers, tmp_path / "copy")
    (file,) = copy.glob("flowers/*/*train*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    arguments = (*SMALL, f"--data_dir={copy}", "--classes=3")
    for extra in ((), ("--random_resized_crop",)):  # read into memory, and as a stream
        line = run_command(train, *arguments, *extra, f"--workdir={tmp_path / 'run'}{len(extra)}")
        assert line.startswith("error: ") and "is damaged after record" in line, extra
        assert str(file) in line and "\n" not in line


def test_folder_without_the_set_is_one_line(tmp_path):
    line = run_command(train, *SMALL, f"--workdir={tmp_path / 'run'}", f"--data_dir={tmp_path}")
    assert line.startswith("error: Unknown data set 'flowers'") and str(tmp_path) in line
    assert "\n" not in line and not (tmp_path / "run").exists()


def test_empty_split_is_one_line(tmp_path):
    features = {
        "image": tfds.features.Image(shape=(4, 4, 3)),
        "label": tfds.features.ClassLabel(num_classes=3),
    }
    image = np.zeros((4, 4, 3), np.uint8)
    four = [{"image": image, "label": index % 3} for index in range(4)]
    prepare(tmp_path, "flowers", "1.0.0", features, {"train": four, "test": four})
    line = run_command(train, *SMALL, f"--workdir={tmp_path / 'run'}", f"--data_dir={tmp_path}")
    assert line.startswith("error: ") and "validation split of flowers" in line
    assert "is empty" in line and "\n" not in line
