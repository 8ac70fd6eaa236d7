"""Reads a split through tensorflow-datasets: undecoded, decoded, or all at once."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from drnet_tf.data.catalogue import Dataset
from drnet_tf.data.damage import guarded
from drnet_tf.data.decoding import as_evaluated, decode
from drnet_tf.data.errors import DataError
from drnet_tf.progress import Progress, silent

LARGEST_SET_IN_MEMORY = 100_000
_LARGEST_DECODED_BYTES = 2**30


def records(
    dataset: Dataset,
    tfds_split: str,
    config: tfds.ReadConfig | None = None,
    *,
    shuffle_files: bool = False,
) -> tf.data.Dataset:
    """Returns examples {"image": encoded bytes, "label": number}, with what else the set has."""
    config = config or tfds.ReadConfig()
    config.try_autocache = False  # `decoded_split` is the cache, of decoded images
    config.skip_prefetch = True
    config.options.deterministic = True
    return dataset.builder.as_dataset(
        split=tfds_split,
        shuffle_files=shuffle_files,
        read_config=config,
        decoders={"image": tfds.decode.SkipDecoding()},
    )


def examples(dataset: Dataset, tfds_split: str, image_size: int) -> tf.data.Dataset:
    """Returns (image uint8 [image_size, image_size, 3], label int32 []) in stored order."""
    feature = dataset.builder.info.features["image"]

    def prepare(example: dict) -> tuple[tf.Tensor, tf.Tensor]:
        image = as_evaluated(decode(example["image"], feature), image_size)
        return image, tf.cast(example["label"], tf.int32)

    return records(dataset, tfds_split).map(prepare, num_parallel_calls=tf.data.AUTOTUNE)


def fits_in_memory(dataset: Dataset, split: str, image_size: int) -> bool:
    """Tells whether a split is small enough to be held decoded."""
    count = dataset.num_examples[split]
    return count <= LARGEST_SET_IN_MEMORY and count * image_size**2 * 3 <= _LARGEST_DECODED_BYTES


def decoded_split(
    dataset: Dataset, split: str, image_size: int, on_progress: Progress = silent
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a whole split; it is read once and then stays in memory with `dataset`.

    (images uint8 [n, image_size, image_size, 3], labels int32 [n]) are on the CPU, in stored order.
    `on_progress` is called with the number of images read, of all, and the name of the split.
    """
    key = (dataset.split(split), image_size)
    if key not in dataset.decoded:
        count = dataset.num_examples[split]
        images = np.empty([count, image_size, image_size, 3], np.uint8)
        labels = np.empty([count], np.int32)
        batches = examples(dataset, dataset.split(split), image_size).batch(256).prefetch(2)
        end = 0
        for batch_images, batch_labels in guarded(batches.as_numpy_iterator(), dataset, split):
            start, end = end, end + len(batch_labels)
            images[start:end], labels[start:end] = batch_images, batch_labels
            on_progress(end, count, split)
        if end != count:
            raise DataError(
                f"The {split} split of {dataset.name} holds {end} of its {count} images: copy or "
                "prepare the data set again."
            )
        # On the CPU, where tf.data works, even if there is an accelerator.
        with tf.device("CPU:0"):
            dataset.decoded[key] = tf.constant(images), tf.constant(labels)
    return dataset.decoded[key]
