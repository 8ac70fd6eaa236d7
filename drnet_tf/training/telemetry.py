"""What a run leaves for those who watch it: a CSV row an epoch, and TensorBoard scalars."""

from __future__ import annotations

import csv
import importlib.util
import io
import pathlib

from drnet_tf.writing import write_text

CSV_FILE = "metrics.csv"
TENSORBOARD_FOLDER = "tensorboard"


class EpochLog:
    """metrics.csv of a workdir. Rows of epochs that a resumed run does again are replaced."""

    def __init__(self, workdir: str, first_epoch: int):
        self.path = pathlib.Path(workdir, CSV_FILE)
        self.rows = [row for row in read_epochs(workdir) if int(row["epoch"]) < first_epoch]

    def append(self, row: dict[str, float | int]) -> None:
        self.rows.append({name: f"{value:.6g}" for name, value in row.items()})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[-1]), extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def read_epochs(workdir: str) -> list[dict[str, str]]:
    """The rows of metrics.csv, none where there is no such file."""
    path = pathlib.Path(workdir, CSV_FILE)
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TensorBoard:
    """Scalars for TensorBoard; does nothing where TensorFlow, which writes them, is missing."""

    def __init__(self, workdir: str):
        self.writer = None
        if importlib.util.find_spec("tensorflow"):
            import tensorflow as tf

            self.tf = tf
            folder = pathlib.Path(workdir, TENSORBOARD_FOLDER)
            self.writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: dict[str, float], step: int) -> None:
        if self.writer is None:
            return
        with self.writer.as_default():
            for name, value in values.items():
                self.tf.summary.scalar(name, value, step=step)
        self.writer.flush()
