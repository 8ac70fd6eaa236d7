"""Images to evaluate with, from tensorflow-datasets or from an .npz file alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.errors import DataError
from drnet_tf.data.fit import Fit
from drnet_tf.data.in_memory import InMemoryDataset, load_npz
from drnet_tf.data.order import epoch_order
from drnet_tf.errors import require

NPZ = ".npz"


class EvaluationImages(Protocol):
    """Gives access to a data set whose splits are read in order.

    Attributes:
        class_names: by label.
        fit: how stored images are brought to the model's size.
    """

    class_names: tuple[str, ...]
    fit: Fit

    def has(self, split: str) -> bool:
        """Tells whether there is such a split that was not trained on."""

    def count(self, split: str) -> int:
        """Counts the images of a split, which must be there."""

    def batches(
        self, split: str, batch_size: int, limit: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Gives images, float32 [batch, height, width, 3] in 0..255, with labels, int32 [batch].

        Only the first `limit` images are read, if it is given. The last batch may be smaller.
        """

    def shuffled(
        self, batch_size: int, seed: int, epoch: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Gives full batches of the training images, in an order drawn from (seed, epoch)."""


def open_images(
    dataset: str, data_dir: str | None, image_size: int, *, train_on_validation: bool = False
) -> EvaluationImages:
    """Opens a data set by its name, or an .npz file by its path.

    Args:
        train_on_validation: whether the model was trained on the validation images: they are then
            not there to evaluate with.
    """
    if dataset.endswith(NPZ):
        return _ArrayImages(load_npz(dataset), image_size, train_on_validation)
    # Here, so that a machine without TensorFlow can evaluate on an .npz file.
    from drnet_tf.data.catalogue import open_dataset

    return _DatasetImages(
        open_dataset(dataset, data_dir, train_on_validation=train_on_validation), image_size
    )


def first_images(images: EvaluationImages, split: str, count: int) -> np.ndarray:
    """Reads the first images of a split, float32 [count, height, width, 3] in 0..255."""
    require(count >= 1, "the number of images must be 1 or more", count)
    return np.concatenate([pixels for pixels, _ in images.batches(split, min(count, 64), count)])


def random_images(images: EvaluationImages, count: int, seed: int) -> np.ndarray:
    """Draws training images from a seed, float32 [count, height, width, 3] in 0..255.

    Where there are fewer, all of them. The first images may be of one class only.
    """
    require(count >= 1, "the number of images must be 1 or more", count)
    # Batches of one: no image is left over at the end.
    drawn = itertools.islice(images.shuffled(1, seed), count)
    return np.concatenate([pixels for pixels, _ in drawn])


class _DatasetImages:
    def __init__(self, dataset, image_size: int):
        self.dataset = dataset
        self.image_size = image_size
        self.class_names = dataset.class_names
        self.fit = dataset.fit

    def has(self, split):
        return self.dataset.splits.get(split) is not None

    def count(self, split):
        self.dataset.split(split)
        return self.dataset.num_examples[split]

    def batches(self, split, batch_size, limit=None):
        from drnet_tf.data.pipeline import evaluation_batches

        elements = evaluation_batches(
            self.dataset, split, image_size=self.image_size, batch_size=batch_size, limit=limit
        )
        return self._read(elements, split)

    def shuffled(self, batch_size, seed, epoch=0):
        from drnet_tf.data.pipeline import training_batches

        elements = training_batches(
            self.dataset,
            image_size=self.image_size,
            batch_size=batch_size,
            augmentation=Augmentation(),
            seed=seed,
            epoch=epoch,
        )
        return self._read(elements, "train")

    def _read(self, elements, split):
        from drnet_tf.data.damage import guarded

        for pixels, labels in guarded(elements, self.dataset, split):
            yield np.asarray(pixels), np.asarray(labels)


class _ArrayImages:
    def __init__(self, dataset: InMemoryDataset, image_size: int, train_on_validation: bool):
        shape = dataset.splits["test"][0].shape[1:3]
        if shape != (image_size, image_size):
            raise DataError(
                f"the images of {dataset.name} have {shape[0]} x {shape[1]} pixels and the model "
                f"takes {image_size} x {image_size}"
            )
        self.dataset = dataset
        self.class_names = dataset.class_names
        self.fit = dataset.fit
        self.unavailable = ("validation",) if train_on_validation else ()

    def has(self, split):
        return split in self.dataset.splits and split not in self.unavailable

    def count(self, split):
        if not self.has(split):
            raise DataError(f"{self.dataset.name} has no {split} split that was not trained on")
        return len(self.dataset.splits[split][1])

    def batches(self, split, batch_size, limit=None):
        self.count(split)  # refuses a split that is not there
        images, labels = (array[:limit] for array in self.dataset.splits[split])
        for first in range(0, len(images), batch_size):
            end = first + batch_size
            yield images[first:end].astype("float32"), labels[first:end]

    def shuffled(self, batch_size, seed, epoch=0):
        images, labels = self.dataset.splits["train"]
        if not 1 <= batch_size <= len(labels):
            raise DataError(
                f"the batch size must be from 1 to {len(labels)}, the number of training images "
                f"of {self.dataset.name}, not {batch_size}"
            )
        order = epoch_order(len(labels), seed, epoch)
        for first in range(0, len(labels) - batch_size + 1, batch_size):
            members = order[first : first + batch_size]
            yield images[members].astype("float32"), labels[members]
