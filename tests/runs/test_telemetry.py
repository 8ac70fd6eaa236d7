"""What a run leaves, read back with the readers of its files."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from drnet_tf.runs.telemetry import EpochLog, TensorBoard


def test_a_column_that_only_some_epochs_have_is_kept(tmp_path):
    log = EpochLog(tmp_path, 0)
    log.append({"epoch": 0, "loss": 2.0, "validation_accuracy": 0.5})
    log.append({"epoch": 1, "loss": 1.0})
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open(newline="")))
    assert [row["validation_accuracy"] for row in rows] == ["0.5", ""]
    assert [row["loss"] for row in rows] == ["2", "1"]
    # A resumed run does epoch 1 again.
    EpochLog(tmp_path, 1).append({"epoch": 1, "loss": 3.0, "validation_accuracy": 0.6})
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open(newline="")))
    assert [(row["loss"], row["validation_accuracy"]) for row in rows] == [
        ("2", "0.5"),
        ("3", "0.6"),
    ]


def test_a_heat_map_becomes_an_image_with_a_square_for_each_value(tmp_path):
    values = np.array([[0.0, 1.0, 0.2], [0.4, 0.6, 1.0]])
    TensorBoard(tmp_path).images({"selected": values}, step=7)
    (path,) = (tmp_path / "tensorboard").iterdir()
    records = tf.data.TFRecordDataset([str(path)]).as_numpy_iterator()
    events = [tf.compat.v1.Event.FromString(record) for record in records]
    ((step, value),) = [(event.step, v) for event in events for v in event.summary.value]
    assert (step, value.tag) == (7, "selected")
    width, height, png = value.tensor.string_val
    image = tf.io.decode_png(png).numpy()[:, :, 0]
    assert image.shape == (int(height), int(width))
    side = image.shape[0] // 2
    assert image.shape == (2 * side, 3 * side)
    for row in range(2):
        for column in range(3):
            square = image[row * side :, column * side :][:side, :side]
            assert square == pytest.approx(np.full((side, side), 255 * values[row, column]), abs=1)
