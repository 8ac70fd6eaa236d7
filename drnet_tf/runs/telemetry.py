"""What a run leaves for those who watch it: a CSV row per epoch, TensorBoard scalars and images."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.writing import write_text

CSV_FILE = "metrics.csv"
_WHOLE = ("epoch", "step", "steps")  # columns of whole numbers
_MACS_PREFIX = "macs_at_"
TENSORBOARD_FOLDER = "tensorboard"
PIXELS = 12  # of the side of a value in an image


@dataclasses.dataclass(frozen=True)
class Observation:
    """Holds what was seen of a model at the end of an epoch.

    Args:
        scalars: numbers by name.
        images: heat maps by name, float [rows, columns] in 0..1.
    """

    scalars: dict[str, float]
    images: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Report:
    """Writes all that a run leaves for its watchers, from an epoch on; or nothing."""

    def __init__(self, workdir: str, first_epoch: int, writes: bool):
        self.writes = writes
        if writes:
            self.log, self.board = EpochLog(workdir, first_epoch), TensorBoard(workdir)

    def epoch(self, row: dict[str, float | int]) -> None:
        """Adds the numbers of an epoch, of which `step` is the last step."""
        if self.writes:
            self.log.append(row)
            scalars = {name: row[name] for name in row if name not in ("epoch", "step")}
            self.board.scalars(scalars, int(row["step"]))

    def add(self, scalars: dict[str, float], step: int) -> None:
        """Adds numbers to those of the latest epoch, of which `step` is the last step."""
        if self.writes and scalars:
            self.log.add(scalars)
            self.board.scalars(scalars, step)

    def images(self, maps: dict[str, np.ndarray], step: int) -> None:
        if self.writes:
            self.board.images(maps, step)


def macs_column(threshold: float) -> str:
    """Returns the column of metrics.csv with an image's mean MACs at a threshold."""
    return f"{_MACS_PREFIX}{threshold}"


def macs_columns(epochs: Sequence[dict[str, str]]) -> dict[str, str]:
    """Finds the columns of `macs_column` in rows of metrics.csv, with their thresholds."""
    names = dict.fromkeys(name for row in epochs for name in row if name.startswith(_MACS_PREFIX))
    return {name: name.removeprefix(_MACS_PREFIX) for name in names}


class EpochLog:
    """Keeps metrics.csv of a workdir. Rows of epochs that a resumed run repeats are replaced."""

    def __init__(self, workdir: str, first_epoch: int):
        self.path = pathlib.Path(workdir, CSV_FILE)
        self.rows = [row for row in read_epochs(workdir) if int(row["epoch"]) < first_epoch]

    def append(self, row: dict[str, float | int]) -> None:
        self.rows.append({})
        self.add(row)

    def add(self, values: dict[str, float | int]) -> None:
        """Adds columns to the latest row."""
        self.rows[-1] |= {name: _number(value) for name, value in values.items()}
        text = io.StringIO()
        # Not every row has every column: some things are not looked at after every epoch.
        columns = list(dict.fromkeys(name for row in reversed(self.rows) for name in row))
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def _number(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def read_epochs(workdir: str, needed: Sequence[str] = ("epoch",)) -> list[dict[str, str]]:
    """Reads the rows of metrics.csv, none where there is no such file.

    Args:
        needed: columns that every row must have; in the others a field may be empty.
    """
    path = pathlib.Path(workdir, CSV_FILE)
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            for name in dict.fromkeys((*needed, *row)):
                if row[name] or name in needed:
                    (int if name in _WHOLE else float)(row[name])
    except KeyError as error:
        raise UserError(
            f"{path} has no column {error}: it is damaged or of an earlier version"
        ) from error
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged ({error}): move it away; a resumed run starts a new one"
        ) from error
    return rows


class TensorBoard:
    """Writes what TensorBoard shows; nothing where TensorFlow, which writes it, is missing."""

    def __init__(self, workdir: str):
        self.writer = None
        if importlib.util.find_spec("tensorflow"):
            import tensorflow as tf

            self.summary = tf.summary
            folder = pathlib.Path(workdir, TENSORBOARD_FOLDER)
            self.writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: dict[str, float], step: int) -> None:
        self._write("scalar", values, step)

    def images(self, maps: dict[str, np.ndarray], step: int) -> None:
        """Draws heat maps with a square of pixels for each value."""
        square = np.ones((PIXELS, PIXELS))
        pixels = {name: np.kron(values, square) for name, values in maps.items()}
        images = {name: p.astype("float32")[None, :, :, None] for name, p in pixels.items()}
        self._write("image", images, step)

    def _write(self, kind: str, values: dict, step: int) -> None:
        if self.writer is None:
            return
        with self.writer.as_default():
            for name, value in values.items():
                getattr(self.summary, kind)(name, value, step=step)
        self.writer.flush()
