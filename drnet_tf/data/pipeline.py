"""tf.data pipelines: batches of float32 pixels 0..255, for training and for evaluation.

A set that fits is decoded once and stays in memory with the `Dataset`; an epoch is then a
permutation of its indices. A larger one is read from its files in shuffled order through a shuffle
buffer of undecoded records. Either way the batches of an epoch, their order and their augmentation
are a function of (seed, epoch) alone, and skipped batches are never decoded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf
import tensorflow_datasets as tfds

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.autoaugment import autoaugment
from drnet_tf.data.catalogue import Dataset
from drnet_tf.data.crop_flip_cutout import cutout, random_crop_and_flip
from drnet_tf.data.decoding import as_evaluated, decode, random_resized_crop
from drnet_tf.data.errors import DataError
from drnet_tf.data.order import epoch_order, epoch_seed
from drnet_tf.data.reading import (
    LARGEST_SET_IN_MEMORY,
    decoded_split,
    examples,
    fits_in_memory,
    records,
)
from drnet_tf.errors import require

_LARGEST_BUFFERED_BYTES = 2**31
_SHUFFLE_BUFFER = 10_000
_FILES_AT_ONCE = 16


def steps_per_epoch(dataset: Dataset, batch_size: int) -> int:
    """Counts the full training batches of an epoch, of which there must be one."""
    require(batch_size >= 1, "the batch size must be 1 or more", batch_size)
    steps = dataset.num_examples["train"] // batch_size
    if not steps:
        raise DataError(
            f"The batch size {batch_size} is larger than the train split of {dataset.name}: use at "
            f"most {dataset.num_examples['train']}."
        )
    return steps


def is_held_in_memory(dataset: Dataset, image_size: int, augmentation: Augmentation) -> bool:
    """Tells whether `training_batches` decodes the whole split once, before the first batch."""
    return not augmentation.random_resized_crop and fits_in_memory(dataset, "train", image_size)


def training_batches(
    dataset: Dataset,
    *,
    image_size: int,
    batch_size: int,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    skip_batches: int = 0,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Returns one epoch of full batches, shuffled and augmented.

    Args:
      image_size: height and width that images are brought to.
      batch_size: images per batch; what is left at the end of an epoch is dropped.
      augmentation: what happens to the images.
      seed: of the whole training.
      epoch: from 0; each has its own order and augmentation.
      skip_batches: batches at the start that a resumed run has seen already. The rest is the same
        as without skipping, and comes without decoding the skipped images.
      share: (i, n) gives the i-th of n equal parts of each batch; n divides `batch_size`. The parts
        hold the images of the whole batch, augmented otherwise; the rest is not decoded.

    Returns:
      (images float32 [batch_size / n, image_size, image_size, 3] in 0..255,
      labels int32 [batch_size / n]). Iterate through `guarded` to learn which file is damaged.
    """
    steps = steps_per_epoch(dataset, batch_size)
    seeds = tf.constant(epoch_seed(seed, epoch), tf.int64)
    part, parts = share
    size = batch_size // parts
    cropped_at_random = augmentation.random_resized_crop
    if is_held_in_memory(dataset, image_size, augmentation):
        images, labels = decoded_split(dataset, "train", image_size)
        order = epoch_order(len(labels), seed, epoch)[: steps * batch_size]
        order = order.reshape(steps, parts, size)[:, part]
        batches = tf.data.Dataset.from_tensor_slices(order)
        batches = batches.enumerate().skip(skip_batches)

        def select(step: tf.Tensor, members: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return step, tf.gather(images, members), tf.gather(labels, members)

        batches = batches.map(select, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        feature = dataset.builder.info.features["image"]

        def prepare(index: tf.Tensor, example: dict) -> tuple[tf.Tensor, ...]:
            image = decode(example["image"], feature)
            if cropped_at_random:
                image_seed = tf.random.experimental.stateless_fold_in(seeds, index)
                image = random_resized_crop(image, image_size, image_seed)
            else:
                image = as_evaluated(image, image_size)
            return image, tf.cast(example["label"], tf.int32)

        shuffled = _shuffled_records(dataset, epoch_seed(seed, epoch))
        shuffled = shuffled.enumerate().take(steps * batch_size).skip(skip_batches * batch_size)
        if parts > 1:
            shuffled = shuffled.filter(lambda index, _: index % batch_size // size == part)
        shuffled = shuffled.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        batches = shuffled.batch(size, drop_remainder=True)
        batches = batches.enumerate(start=skip_batches).map(lambda step, batch: (step, *batch))

    augment = _augmenting(augmentation, size, image_size, part)
    batches = batches.map(
        lambda step, images, labels: (
            augment(images, seeds, step),
            tf.ensure_shape(labels, [size]),
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    batches = batches.apply(tf.data.experimental.assert_cardinality(max(0, steps - skip_batches)))
    return _ordered(batches.prefetch(tf.data.AUTOTUNE))


def evaluation_batches(
    dataset: Dataset, split: str, *, image_size: int, batch_size: int, limit: int | None = None
) -> tf.data.Dataset:
    """Returns all images of a split, in stored order and unchanged but for their size.

    Args:
      batch_size: images per batch; the last batch holds what is left.
      limit: only so many images, the first.

    Returns:
      (images float32 [batch, image_size, image_size, 3] in 0..255, labels int32 [batch]).
    """
    require(batch_size >= 1, "the batch size must be 1 or more", batch_size)
    count = dataset.num_examples.get(split, 0)
    tfds_split = dataset.split(split)
    if limit is not None:
        require(limit >= 1, "the limit must be 1 image or more", limit)
        count = min(count, limit)
    # Decoding a whole set for a few images would take longer than reading them.
    if limit is None and fits_in_memory(dataset, split, image_size):
        images, labels = decoded_split(dataset, split, image_size)

        def slice_batch(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            end = start + batch_size
            return tf.cast(images[start:end], tf.float32), labels[start:end]

        batches = tf.data.Dataset.range(0, count, batch_size)
        batches = batches.map(slice_batch, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        batches = examples(dataset, tfds_split, image_size).take(count).batch(batch_size)
        batches = batches.map(lambda images, labels: (tf.cast(images, tf.float32), labels))
    return _ordered(batches.prefetch(tf.data.AUTOTUNE))


@functools.cache
def _augmenting(augmentation: Augmentation, size: int, image_size: int, part: int) -> Callable:
    """Compiles a function of (images, seeds of the epoch, step), the same for all epochs.

    The images are `size` ones, part `part` of a batch.

    AutoAugment takes half a second to trace, which every epoch would spend again.
    """
    shape = [size, image_size, image_size, 3]
    signature = [
        tf.TensorSpec(shape, tf.uint8),
        tf.TensorSpec([2], tf.int64),
        tf.TensorSpec([], tf.int64),
    ]

    # AutoGraph has nothing to convert here, and fails on `match` in the policy.
    @tf.function(input_signature=signature, autograph=False)
    def augment(images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        batch_seed = tf.random.experimental.stateless_fold_in(seeds, step)
        if part:
            batch_seed = tf.random.experimental.stateless_fold_in(batch_seed, tf.constant(part))
        return tf.ensure_shape(_augmented(images, batch_seed, augmentation), shape)

    return augment


def _augmented(images: tf.Tensor, seed: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """Augments uint8 images to float32 images, in the order that the AutoAugment paper uses."""
    if augmentation.autoaugment is not None:
        # 0 to 3 are taken by crop, flip and cutout.
        autoaugment_seed = tf.random.experimental.stateless_fold_in(seed, 4)
        images = autoaugment(images, autoaugment_seed, augmentation.autoaugment)
    images = random_crop_and_flip(
        images, seed, padding=augmentation.crop_padding, flip=augmentation.flip
    )
    images = tf.cast(images, tf.float32)
    return cutout(images, seed, side=augmentation.cutout, fill=augmentation.fill)


def _shuffled_records(dataset: Dataset, seeds: tuple[int, int]) -> tf.data.Dataset:
    """Gives undecoded training examples in the order of one epoch."""
    count = dataset.num_examples["train"]
    config = tfds.ReadConfig(
        shuffle_seed=seeds[0],
        shuffle_reshuffle_each_iteration=False,
        interleave_cycle_length=_FILES_AT_ONCE,
    )
    whole = (
        count <= LARGEST_SET_IN_MEMORY
        and dataset.builder.info.splits["train"].num_bytes <= _LARGEST_BUFFERED_BYTES
    )
    ordered = records(dataset, dataset.split("train"), config, shuffle_files=True)
    buffer = count if whole else min(count, _SHUFFLE_BUFFER)
    return ordered.shuffle(buffer, seed=seeds[1], reshuffle_each_iteration=False)


def _ordered(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    return batches.with_options(options)
