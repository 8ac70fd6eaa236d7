"""Writing files so that they are whole or not there."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import shutil
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: pathlib.Path | str) -> Iterator[pathlib.Path]:
    """Gives a temporary name beside `path` to write a file or a folder to, and renames it.

    Where the block fails, nothing is left under either name that was not there before. A device or
    a pipe, such as /dev/null, is not replaced but written to.
    """
    if _is_special(pathlib.Path(path)):
        yield pathlib.Path(path)
        return
    # Resolved: what is replaced is what a link points to, and "." has no name.
    path = pathlib.Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path)
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    old = path.with_name(f".old-{os.getpid()}-{path.name}")
    try:
        yield temporary
        if temporary.is_dir() and path.exists():
            # A folder cannot be renamed over one with files in it.
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        _remove(old)
    finally:
        _remove(temporary)


def _tidy(path: pathlib.Path) -> None:
    """Undoes what a process that was killed while it replaced `path` has left."""
    for left in path.parent.glob(f".old-*-{glob.escape(path.name)}"):
        if path.exists():
            _remove(left)
        else:
            os.replace(left, path)
    for left in path.parent.glob(f".writing-*-{glob.escape(path.name)}"):
        _remove(left)


def check_writable(path: pathlib.Path | str) -> None:
    """Checks that a file can be written, before the work whose result it is to hold."""
    path = pathlib.Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file")
    if _is_special(path):
        with path.open("ab"):
            return
    with replacing(path.with_name(path.name + ".test")) as temporary:
        temporary.touch()
    path.with_name(path.name + ".test").unlink()


def check_folder_writable(path: pathlib.Path | str) -> None:
    """Checks the same of a folder that is to be written or replaced as a whole."""
    test = pathlib.Path(path).resolve()
    test = test.with_name(test.name + ".test")
    with replacing(test) as temporary:
        temporary.mkdir()
    test.rmdir()


def _is_special(path: pathlib.Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def write_text(path: pathlib.Path | str, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
