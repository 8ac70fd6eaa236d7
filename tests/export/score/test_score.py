"""Scores of many images: the table, its resumption, and images that cannot be read."""

import csv
import io

import numpy as np
import PIL.Image
import pyarrow.parquet
import pytest

from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from export.score import __main__ as command
from export.score.image_folder import UnreadableImage, read_image
from export.score.image_sources import dataset_source, folder_source
from export.score.route_text import read_route, route_text
from export.score.scoring import score
from export.tflite.runner import TFLiteRunner
from export.tflite.threads import in_threads
from tests.export.routed_model import CLASS_NAMES, CONFIG
from tests.training.commands import run_command

THRESHOLD = 0.5
SHAPE = (CONFIG.cells, CONFIG.connections, len(CONFIG.branches))


@pytest.fixture
def folder(images, tmp_path):
    """Image files of the model's size in several formats, one damaged, one empty, one no image."""
    folder = tmp_path / "images"
    pixels = images.astype(np.uint8)
    for i, name in enumerate(("two/a.png", "three/deep/b.BMP", "c.gif", "c.jpg", "zero/d.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels[i]).save(path)
    PIL.Image.fromarray(pixels[5]).convert("L").save(folder / "grey.bmp")
    content = (folder / "two/a.png").read_bytes()
    (folder / "broken.png").write_bytes(content[: len(content) // 2])
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no image")
    return folder


def source(folder):
    return folder_source(folder, CONFIG.image_size, Fit.WHOLE, CLASS_NAMES)


def read(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_rows_are_what_the_model_says_of_the_pixels(exported, folder, tmp_path):
    result = score(exported.export, source(folder), tmp_path / "s.csv", THRESHOLD, workers=2)
    rows = read(tmp_path / "s.csv")
    paths = ["c.gif", "c.jpg", "grey.bmp", "three/deep/b.BMP", "two/a.png", "zero/d.png"]
    assert [row["path"] for row in rows] == paths
    assert [row["label"] for row in rows] == ["", "", "", "", "two", "zero"]
    runner = TFLiteRunner(exported.folder / "model.tflite")
    cost = exported.trained.model.cost
    for row in rows:
        if row["path"] == "c.jpg":  # decoders of JPEG may differ by rounding
            continue
        pixels = np.asarray(PIL.Image.open(folder / row["path"]).convert("RGB"), np.float32)
        expected = runner.run(pixels, THRESHOLD)
        assert row["class"] == CLASS_NAMES[expected.probabilities.argmax()]
        assert np.float32(row["probability"]) == expected.probabilities.max()
        np.testing.assert_array_equal(read_route(row["route"], SHAPE), expected.selected)
        assert int(row["macs"]) == cost.of_selection(expected.selected)[1]
    assert len({row["route"] for row in rows}) > 1
    errors = read(tmp_path / "s.csv.errors.csv")
    assert [row["path"] for row in errors] == ["broken.png", "empty.jpg"]
    assert all(row["reason"] for row in errors)
    assert (result.images, result.unreadable, result.labeled) == (6, 2, 2)
    assert result.correct == sum(row["label"] == row["class"] for row in rows)


def test_resumed_scoring_equals_an_undisturbed_one(exported, folder, tmp_path):
    def interrupt(done, total, text):
        if done == 5:
            raise KeyboardInterrupt

    whole, output = tmp_path / "whole.csv", tmp_path / "resumed.csv"
    score(exported.export, source(folder), whole, THRESHOLD, part=2)
    output.write_text("an older table")
    with pytest.raises(KeyboardInterrupt):
        score(exported.export, source(folder), output, THRESHOLD, progress=interrupt, part=2)
    assert output.read_text() == "an older table"
    with pytest.raises(UserError, match="another threshold"):
        score(exported.export, source(folder), output, 0.1, part=2)
    steps = []
    score(
        exported.export,
        source(folder),
        output,
        THRESHOLD,
        progress=lambda done, total, text: steps.append((done, total)),
        part=2,
    )
    assert steps == [(done, 8) for done in range(4, 9)]  # two parts of two images were done
    assert output.read_bytes() == whole.read_bytes()
    errors = [path.with_name(path.name + ".errors.csv").read_bytes() for path in (output, whole)]
    assert errors[0] == errors[1]
    assert not list(tmp_path.glob("*.parts")) and not list(tmp_path.glob(".*"))


class _Arrays:
    """A data set of arrays."""

    class_names = CLASS_NAMES

    def __init__(self, images):
        self.images = images

    def count(self, split):
        return len(self.images)

    def batches(self, split, batch_size, limit=None):
        for i in range(0, len(self.images), 5):
            part = self.images[i : i + 5]
            yield part, np.arange(i, i + len(part)) % len(CLASS_NAMES)


def test_parquet_has_the_values_of_the_csv(exported, images, tmp_path):
    arrays = dataset_source(_Arrays(images), "arrays", "test")
    score(exported.export, arrays, tmp_path / "s.csv", THRESHOLD, part=5)
    score(exported.export, arrays, tmp_path / "s.parquet", THRESHOLD, part=5)
    rows = pyarrow.parquet.read_table(tmp_path / "s.parquet").to_pylist()
    assert [row["index"] for row in rows] == list(range(len(images)))
    assert [row["label"] for row in rows] == list(CLASS_NAMES) * (len(images) // 4)
    for row, text in zip(rows, read(tmp_path / "s.csv"), strict=True):
        assert row.keys() == text.keys()
        assert row["probability"] == np.float32(text.pop("probability"))
        assert {name: str(row[name]) for name in text} == text


def test_image_is_resized_as_the_data_set_of_the_model_is(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :2] = 255  # a border that a crop of the center does not see
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    whole, center = (
        read_image(tmp_path / "a.png", 16, fit) for fit in (Fit.WHOLE, Fit.CENTRE_CROP)
    )
    assert whole.shape == center.shape == (16, 16, 3)
    assert (whole[:, 0] == 255).all() and not whole[:, 1:].any()
    assert not center[:, 2:].any() and (center[:, 0] < 255).all()
    with pytest.raises(UnreadableImage):
        read_image(tmp_path / "missing.png", 16, Fit.WHOLE)


def test_route_is_its_bits_in_order():
    selected = np.zeros((1, 3, 4), bool)
    selected[0, 0] = [True, False, True, True]
    selected[0, 2, 3] = True
    assert route_text(selected) == "b010"
    np.testing.assert_array_equal(read_route("b010", (1, 3, 4)), selected)
    with pytest.raises(UserError, match="12 units has 4 digits"):
        read_route("b0", (1, 3, 4))


def test_results_come_in_order_and_a_stream_is_not_read_ahead_of_the_threads():
    taken = []

    def numbers():
        for i in range(1000):
            taken.append(i)
            yield i

    results = in_threads(lambda: 10, lambda runner, i: runner * i, numbers(), workers=3)
    assert [next(results) for _ in range(50)] == [10 * i for i in range(50)]
    assert len(taken) < 100
    results.close()


def test_command_line_scores_a_folder(exported, folder, tmp_path, capsys):
    arguments = [f"--export_dir={exported.folder}", f"--input={folder}", "--threshold=1"]
    assert run_command(command, *arguments, f"--output={tmp_path}/s.csv") is None
    printed = capsys.readouterr().out
    assert "6 images in" in printed and "2 could not be read" in printed
    total = exported.trained.model.cost.total.macs
    assert [int(row["macs"]) for row in read(tmp_path / "s.csv")] == [total] * 6
