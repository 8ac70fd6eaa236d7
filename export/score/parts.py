"""A table of scores that is written in parts, so that a scoring that was killed can be resumed.

FILE.parts/job.json      what is scored with what; another job must not use these parts
FILE.parts/000000.csv    the rows of the first images, each part whole or not there
FILE.parts/000000.errors.csv    those of them that could not be read

At the end they are joined to FILE and, where there are any, FILE.errors.csv, and removed.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import fcntl
import io
import json
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from drnet_tf.errors import UserError
from drnet_tf.writing import replacing, write_text

CSV, PARQUET = ".csv", ".parquet"
ERROR_COLUMNS = ("path", "reason")
_JOB_FILE = "job.json"


@dataclasses.dataclass(frozen=True)
class ScoreParts:
    """Keeps the parts of one output file.

    Args:
        output: the file, ending in .csv or .parquet.
        columns: of the table, from headings to types in Parquet by their names in pyarrow:
            "string", "float32", "int64".
    """

    output: pathlib.Path
    columns: dict[str, str]

    @property
    def folder(self) -> pathlib.Path:
        return self.output.with_name(self.output.name + ".parts")

    @property
    def errors_file(self) -> pathlib.Path:
        return self.output.with_name(self.output.name + ".errors.csv")

    @contextlib.contextmanager
    def claimed(self, job: dict[str, Any]) -> Iterator[None]:
        """Makes the folder of parts, or resumes with the one that is there.

        Raises:
            UserError: it holds the parts of another job, or another process writes them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # The system releases the lock when the process ends, however it ends.
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"another process writes {self.output}; wait for it") from error
            path = self.folder / _JOB_FILE
            if path.is_file():
                other = self._read_job(path)
                if changed := [key for key in job if other.get(key) != job[key]]:
                    raise UserError(
                        f"{self.folder} holds parts of a table with another {', '.join(changed)}: "
                        "remove it to start over, or give another --output"
                    )
            write_text(path, json.dumps(job, indent=1) + "\n")
            yield

    def _read_job(self, path: pathlib.Path) -> dict[str, Any]:
        try:
            values = json.loads(path.read_text())
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise self._damaged(path)
        return values

    def _damaged(self, path: pathlib.Path) -> UserError:
        return UserError(f"{path} is damaged: remove {self.folder} to start over")

    def has(self, part: int) -> bool:
        return self._file(part).is_file()

    def write(self, part: int, rows: Sequence[tuple], errors: Sequence[tuple[str, str]]) -> None:
        """Writes a part; `errors` are of the images that have no row."""
        # The rows last: with them the part counts as done.
        write_text(self._file(part, ".errors"), _csv_text(errors))
        write_text(self._file(part), _csv_text(rows))

    def join(self, parts: int) -> int:
        """Writes the output from its parts, and removes them.

        Returns:
            How many images could not be read.
        """
        with replacing(self.output) as temporary:
            if self.output.suffix == PARQUET:
                self._join_parquet(parts, temporary)
            else:
                _join_csv(self.columns, map(self._file, range(parts)), temporary)
        errors = [self._file(part, ".errors") for part in range(parts)]
        count = sum(1 for path in errors for _ in _read_csv(path))
        if count:
            with replacing(self.errors_file) as temporary:
                _join_csv(ERROR_COLUMNS, errors, temporary)
        else:
            self.errors_file.unlink(missing_ok=True)  # of an earlier table
        shutil.rmtree(self.folder)
        return count

    def rows(self, part: int) -> Iterator[dict[str, str]]:
        """Reads the rows of a part, which must be whole, by column; numbers are text still."""
        path = self._file(part)
        for row in _read_csv(path):
            if len(row) != len(self.columns):
                raise self._damaged(path)
            yield dict(zip(self.columns, row, strict=True))

    def _file(self, part: int, kind: str = "") -> pathlib.Path:
        return self.folder / f"{part:06}{kind}{CSV}"

    def _join_parquet(self, parts: int, path: pathlib.Path) -> None:
        import pyarrow
        import pyarrow.parquet

        kinds = self.columns.items()
        schema = pyarrow.schema([(name, pyarrow.type_for_alias(kind)) for name, kind in kinds])
        read = {"string": str, "float32": float, "int64": int}

        def values(row: dict[str, str]) -> dict[str, Any]:
            # An empty field is no value: a label that is not known.
            return {name: read[kind](row[name]) if row[name] else None for name, kind in kinds}

        with pyarrow.parquet.ParquetWriter(path, schema) as writer:
            for part in range(parts):
                rows = [values(row) for row in self.rows(part)]
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))


def check_output(output: pathlib.Path) -> None:
    """Raises a UserError unless the name of a table ends in .csv or .parquet."""
    if output.suffix not in (CSV, PARQUET):
        raise UserError(f"{output} must end in {CSV} or {PARQUET}")


def _csv_text(rows: Sequence[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _read_csv(path: pathlib.Path) -> Iterator[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.reader(file)


def _join_csv(header: Iterable[str], files, path: pathlib.Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as joined:
        joined.write(_csv_text([tuple(header)]))
        for file in files:
            joined.write(file.read_text(encoding="utf-8"))
