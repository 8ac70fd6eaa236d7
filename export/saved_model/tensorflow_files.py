"""What TensorFlow says where a file cannot be written, as Python says it."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def file_errors(path: pathlib.Path | str) -> Iterator[None]:
    """Turns an error of TensorFlow in the block, which writes `path`, into an OSError.

    Raises:
        OSError: the disk is full, or the path cannot be written.
    """
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be written: {error.message}") from error
