"""Where the batches of a training run come from: tf.data, or arrays that live on the accelerator.

A feed gives small host batches (`batches`) and finishes them inside of the compiled step
(`prepare`, which also gets the arrays that stay on the device). The batches of an epoch are a
function of the seed and the epoch, so that a resumed run sees what an undisturbed one does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from keras import ops

from drnet_tf.data import in_memory
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.evaluation_images import NPZ
from drnet_tf.data.fit import Fit
from drnet_tf.data.order import epoch_order
from drnet_tf.errors import UserError, require
from drnet_tf.progress import Progress, silent
from drnet_tf.runs.workdir import Run


class Feed(Protocol):
    """Describes what the training loop and the step modules need to know.

    Attributes:
        classes: of the data set.
        fit: how its images are brought to the model's size.
        steps_per_epoch: full batches of an epoch.
        arrays: what stays on the device, handed to `prepare`.
        per_image: for each part of a batch, whether its first axis counts images. A part that does
            not is a seed, integer [2].
    """

    classes: int
    fit: Fit
    steps_per_epoch: int
    arrays: tuple
    per_image: tuple[bool, ...]

    def batches(self, epoch: int, done: int) -> Iterable[tuple]:
        """Gives the batches of an epoch after the first `done`, of each this process's share."""

    def unaugmented(self) -> Feed:
        """Returns a feed without augmentation, of whole batches in every process."""

    def prepare(self, arrays: tuple, *batch: Any) -> tuple[Any, Any]:
        """Makes images, float32 [batch, height, width, 3] in 0..255, and labels, int32 [batch]."""


def open_feed(
    run: Run,
    *,
    batch_size: int | None = None,
    data_dir: str | None = None,
    progress: Progress = silent,
    share: tuple[int, int] = (0, 1),
) -> Feed:
    """Opens the training images of a run.

    Args:
        run: its data set is a name of tensorflow-datasets, or a file that drnet_tf.data.write_npz
            wrote, which needs no TensorFlow and the pipeline "device".
        batch_size: of all processes together; None for the run's.
        data_dir: folder of the prepared data set; None for the run's.
        progress: called with the number of images read, of all, and the name of the split, where
            they are read into memory.
        share: the number of this process, and of all; the latter divides the batch size.
    """
    dataset, pipeline = run.dataset, run.settings.input_pipeline
    image_size, on_validation = run.config.image_size, run.settings.train_on_validation
    settings: dict[str, Any] = dict(
        batch_size=batch_size or run.recipe.batch_size,
        augmentation=run.augmentation,
        seed=run.settings.seed,
        share=share,
    )
    if dataset.endswith(NPZ):
        if pipeline != "device":
            raise UserError(f"{dataset} is read with --input_pipeline=device, not {pipeline}")
        return DeviceFeed(in_memory.load_npz(dataset), image_size, on_validation, **settings)
    # Here, so that a machine without TensorFlow can train on an .npz file.
    try:
        from drnet_tf.data.catalogue import open_dataset
    except ModuleNotFoundError as error:
        raise UserError(
            f"reading {dataset} needs {error.name}, which is not installed; without it train on a "
            "file of python -m drnet_tf.data.write_npz, with --input_pipeline=device"
        ) from error

    opened = open_dataset(
        dataset, data_dir or run.settings.data_dir, train_on_validation=on_validation
    )
    if pipeline == "device":
        arrays = in_memory.load_tfds(opened, image_size=image_size, on_progress=progress)
        # The split holds the validation images already where they are trained on.
        return DeviceFeed(arrays, image_size, False, **settings)
    streamed = TfDataFeed(opened, image_size=image_size, **settings)
    streamed.read(progress)
    return streamed


def unaugmented_batches(feed: Feed, arrays: tuple, images: int) -> Iterator[tuple]:
    """Gives images and labels of whole batches, at least as many images where there are.

    They are always the same ones, in random order: an .npz file may be sorted by class.

    Args:
        arrays: the feed's, on the device.
    """
    plain, count = feed.unaugmented(), 0
    for batch in plain.batches(0, 0):
        pixels, labels = plain.prepare(arrays, *batch)
        yield np.asarray(pixels), np.asarray(labels)
        count += len(pixels)
        if count >= images:
            return


class TfDataFeed:
    """Has tf.data read, shuffle and augment batches on the host.

    Args:
        dataset: of `open_dataset`.
        settings: of `training_batches`, for every epoch: image_size, batch_size, augmentation, seed
            and share.
    """

    arrays: tuple = ()
    per_image: tuple[bool, ...] = (True, True)

    def __init__(self, dataset, **settings: Any):
        from drnet_tf.data.pipeline import steps_per_epoch

        self.dataset = dataset
        self.classes = dataset.num_classes
        self.fit = dataset.fit
        self.steps_per_epoch = steps_per_epoch(dataset, settings["batch_size"])
        self.settings = settings

    def read(self, progress: Progress) -> None:
        """Reads a set that the pipeline holds in memory; the first batch would do it unseen."""
        from drnet_tf.data.pipeline import is_held_in_memory
        from drnet_tf.data.reading import decoded_split

        image_size, augmentation = self.settings["image_size"], self.settings["augmentation"]
        if is_held_in_memory(self.dataset, image_size, augmentation):
            decoded_split(self.dataset, "train", image_size, progress)

    def batches(self, epoch, done):
        from drnet_tf.data.damage import guarded
        from drnet_tf.data.pipeline import training_batches

        rest = training_batches(self.dataset, epoch=epoch, skip_batches=done, **self.settings)
        return guarded(rest, self.dataset, "train")

    def unaugmented(self):
        feed = copy.copy(self)
        feed.settings = self.settings | {"augmentation": Augmentation(), "share": (0, 1)}
        return feed

    def prepare(self, arrays, images, labels):
        return images, labels


class DeviceFeed:
    """Has the compiled step gather and augment its batch; the host only sends indices."""

    per_image: tuple[bool, ...] = (True, False)

    def __init__(
        self,
        dataset: in_memory.InMemoryDataset,
        image_size: int,
        train_on_validation: bool,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        share: tuple[int, int] = (0, 1),
    ):
        in_memory.check_augmentation(augmentation)
        parts = [dataset.splits["train"]]
        if train_on_validation and "validation" in dataset.splits:
            parts.append(dataset.splits["validation"])
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if images.shape[1:3] != (image_size, image_size):
            raise UserError(
                f"the images of {dataset.name} have {images.shape[1]} x {images.shape[2]} pixels "
                f"and the model {image_size} x {image_size}; choose --image_size to fit"
            )
        count = len(images)
        require(1 <= batch_size <= count, f"batch_size must be between 1 and {count}", batch_size)
        self.arrays: tuple = (images, labels.astype("int32"))
        self.classes = len(dataset.class_names)
        self.fit = dataset.fit
        self.steps_per_epoch = len(images) // batch_size
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.seed = seed
        self.share = share

    def batches(self, epoch, done):
        order = epoch_order(len(self.arrays[0]), self.seed, epoch).astype("int32")
        process, processes = self.share
        size = self.batch_size // processes
        for step in range(done, self.steps_per_epoch):
            first = step * self.batch_size + process * size
            yield order[first : first + size], in_memory.batch_seed(self.seed, epoch, step)

    def unaugmented(self):
        feed = copy.copy(self)
        feed.augmentation, feed.share = Augmentation(), (0, 1)
        return feed

    def prepare(self, arrays, indices, seed):
        images, labels = (ops.take(array, indices, axis=0) for array in arrays)
        return in_memory.augment_batch(images, seed, self.augmentation), labels
