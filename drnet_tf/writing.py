"""Writing files so that they are whole or not there."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: pathlib.Path | str) -> Iterator[pathlib.Path]:
    """Gives a temporary name beside `path` to write a file or a folder to, and renames it.

    Where the block fails, nothing is left under either name that was not there before.
    """
    # Resolved: what is replaced is what a link points to, and "." has no name.
    path = pathlib.Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".writing-*-{path.name}"):
        _remove(left)  # by a process that was killed
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    old = path.with_name(f".old-{os.getpid()}-{path.name}")
    try:
        yield temporary
        if temporary.is_dir() and path.exists():
            # A folder cannot be renamed over one with files in it.
            os.replace(path, old)
        os.replace(temporary, path)
        _remove(old)
    finally:
        _remove(temporary)


def check_writable(path: pathlib.Path | str) -> None:
    """Checks, before the work whose result it is to hold, that a file can be written.

    Raises:
        OSError: it cannot.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file")
    with replacing(path.with_name(path.name + ".test")) as temporary:
        temporary.touch()
    path.with_name(path.name + ".test").unlink()


def write_text(path: pathlib.Path | str, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
