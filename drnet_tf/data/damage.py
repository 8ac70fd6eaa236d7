"""Turns errors of TensorFlow's readers into a DataError that names the damaged file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import tensorflow as tf

from drnet_tf.data.catalogue import Dataset
from drnet_tf.data.errors import DataError

Element = TypeVar("Element")
# Damaged record, record that does not parse or decode, missing file, fewer records than promised.
_READ_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.FailedPreconditionError,
    tf.errors.OutOfRangeError,
)


def guarded(elements: Iterable[Element], dataset: Dataset, split: str) -> Iterator[Element]:
    """Yields `elements`, which read `split` of `dataset`, unchanged.

    Only errors of the reader are caught, and become a DataError that names the damaged or missing
    file; what the consumer raises between two elements passes.
    """
    iterator = iter(elements)
    while True:
        try:
            element = next(iterator)
        except StopIteration:
            return
        except _READ_ERRORS as error:
            raise DataError(_diagnosis(dataset, split, error)) from error
        yield element


def _diagnosis(dataset: Dataset, split: str, error: Exception) -> str:
    advice = "copy or prepare the data set again."
    where = f"the {split} split of {dataset.name}"
    for path, promised in _files(dataset, split):
        if not tf.io.gfile.exists(path):
            return f"{path}, a file of {where}, is missing: {advice}"
        count = 0
        try:
            for _ in tf.data.TFRecordDataset(path):
                count += 1
        except tf.errors.OpError:
            return f"{path}, a file of {where}, is damaged after record {count}: {advice}"
        if count != promised:
            return f"{path}, a file of {where}, holds {count} of its {promised} records: {advice}"
    first_line = str(error).strip().splitlines()[0][:200]
    return f"Reading {where} failed ({first_line}): {advice}"


def _files(dataset: Dataset, split: str) -> list[tuple[str, int]]:
    """Lists path and promised number of records of every file that the split touches."""
    splits = dataset.builder.info.splits
    names = [part.split("[")[0] for part in dataset.split(split).split("+")]
    return [
        (str(path), length)
        for name in names
        for path, length in zip(splits[name].filepaths, splits[name].shard_lengths, strict=True)
    ]
