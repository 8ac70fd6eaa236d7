"""Small data sets held whole in arrays, shuffled by index and augmented on the accelerator.

The pipeline of `--input_pipeline=device`: a compiled training step gathers its batch from the
arrays and augments it itself, so no host thread stands between two steps. NumPy and Keras only;
TensorFlow is imported where a set of tensorflow-datasets is read, and an .npz that
`python -m drnet_tf.data.write_npz` wrote serves machines without TensorFlow.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.errors import DataError
from drnet_tf.data.fit import Fit
from drnet_tf.data.order import epoch_seed
from drnet_tf.progress import Progress, silent

if TYPE_CHECKING:
    from drnet_tf.data.catalogue import Dataset

Arrays = tuple[np.ndarray, np.ndarray]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class InMemoryDataset:
    """Holds a data set as arrays.

    Attributes:
      name: of the set, or the path of its file.
      class_names: by label.
      splits: "train", "validation" (may be missing) and "test" to (images uint8 [n, height, width,
        3], labels int32 [n]).
      fit: how stored images are brought to the model's size.
    """

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Arrays]
    fit: Fit = Fit.WHOLE


def load_tfds(
    dataset: Dataset, *, image_size: int, on_progress: Progress = silent
) -> InMemoryDataset:
    """Reads all splits of an opened data set, which must be small enough to be held.

    Images are brought to `image_size`. `on_progress` is called with the number of images read, of
    all, and the name of the split.
    """
    from drnet_tf.data.reading import decoded_split, fits_in_memory

    splits = {}
    for split in SPLITS:
        if dataset.splits[split] is None:
            continue
        if not fits_in_memory(dataset, split, image_size):
            raise DataError(
                f"The {split} split of {dataset.name} is too large to be held in memory at "
                f"{image_size} pixels: use a smaller --image_size, or --input_pipeline=tfdata."
            )
        images, labels = decoded_split(dataset, split, image_size, on_progress)
        splits[split] = images.numpy(), labels.numpy()
    return InMemoryDataset(dataset.name, dataset.class_names, splits, dataset.fit)


def load_npz(path: str) -> InMemoryDataset:
    """Reads an .npz file with the arrays train_images, train_labels, test_images, test_labels.

    validation_images and validation_labels may be there too, and class_names. Images are uint8
    [n, height, width, 3], or with one grey channel or none, which becomes three.

    Raises:
      DataError: the file is missing or damaged, or an array is missing or of the wrong kind.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with file:
            arrays = {key: file[key] for key in file.files}
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist: write it with python -m drnet_tf.data.write_npz."
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} is not a readable .npz file: write it again with "
            "python -m drnet_tf.data.write_npz."
        ) from error
    splits = {
        split: _checked(path, split, arrays)
        for split in SPLITS
        if split != "validation" or "validation_images" in arrays
    }
    num_classes = 1 + max(int(labels.max()) for _, labels in splits.values())
    names = arrays.get("class_names", np.arange(num_classes))
    if names.ndim != 1 or len(names) < num_classes:
        raise DataError(
            f"{path} has {names.size} class names for labels up to {num_classes - 1}: needed is "
            "one name per class."
        )
    return InMemoryDataset(os.fspath(path), tuple(str(name) for name in names), splits)


def batch_seed(seed: int, epoch: int, step: int) -> np.ndarray:
    """Returns the seed of one batch for `augment_batch`: int32 [2]."""
    return np.array([epoch_seed(seed, epoch)[0], step], np.int32)


def augment_batch(images: Any, seed: Any, augmentation: Augmentation) -> Any:
    """Crops, mirrors and cuts out at random; the meaning is that of `crop_flip_cutout`.

    Runs eagerly, in tf.function and in jax.jit. Within a compiled function `seed` is an argument of
    it, so that one compiled step serves every seed.

    Args:
      images: [batch, height, width, channels], uint8 or float, values 0..255. Height, width and
        channels are known.
      seed: an integer, an integer tensor [] or [2]. The result is a function of it and the images
        for one backend, and on TensorFlow for one kind of compilation: XLA draws other numbers
        from the same seed.
      augmentation: what to do; neither AutoAugment nor random resized crops.

    Returns:
      float32, the shape of `images`, values 0..255.
    """
    check_augmentation(augmentation)
    batch, height, width = ops.shape(images)[:3]
    # Five numbers per image in [0, 1) from one draw: the parts never share a random number.
    draws = keras.random.uniform((5, batch, 1), dtype="float32", seed=_GivenSeed(seed))
    if augmentation.crop_padding or augmentation.flip:
        images = _crop_and_flip(images, draws[:3], augmentation.crop_padding, augmentation.flip)
    images = ops.cast(images, "float32")
    if augmentation.cutout:
        erased = ops.logical_and(
            _near(height, draws[3], augmentation.cutout)[:, :, None],
            _near(width, draws[4], augmentation.cutout)[:, None, :],
        )
        fill = ops.convert_to_tensor(augmentation.fill, "float32")
        images = ops.where(erased[..., None], fill, images)
    return images


def check_augmentation(augmentation: Augmentation) -> None:
    """Refuses what `augment_batch` cannot do."""
    if augmentation.autoaugment is not None or augmentation.random_resized_crop:
        raise DataError(
            "AutoAugment and random resized crops run in the tf.data pipeline only: use "
            "--input_pipeline=tfdata, or --autoaugment=none and --norandom_resized_crop."
        )


class _GivenSeed(keras.random.SeedGenerator):
    """Hands keras.random a seed that may be a tensor.

    keras.random takes a Python integer, which a compiled function would bake in, or a generator,
    which would be a variable that resumed runs must restore. This is a generator without a state.
    """

    def __init__(self, seed: Any) -> None:  # the base class would make a variable
        if isinstance(seed, int):
            seed &= 0x7FFFFFFF
        # What the backends' generators take without a further conversion; XLA needs it.
        dtype = "uint32" if keras.backend.backend() == "jax" else "int32"
        state = ops.cast(ops.convert_to_tensor(seed), dtype)
        if len(state.shape) == 0:
            state = ops.stack([state, ops.zeros_like(state)])
        self._given = state

    def next(self, ordered: bool = True) -> Any:
        """Returns the seed."""
        del ordered
        return self._given


def _crop_and_flip(images: Any, draws: Any, padding: int, flip: bool) -> Any:
    batch, height, width, channels = ops.shape(images)
    rows = ops.arange(height)[None] + _integers(draws[0], 2 * padding + 1) - padding
    columns = ops.arange(width)[None]
    if flip:
        columns = ops.where(draws[2] < 0.5, width - 1 - columns, columns)
    columns = columns + _integers(draws[1], 2 * padding + 1) - padding
    inside = ops.logical_and(
        ops.logical_and(rows >= 0, rows < height)[:, :, None],
        ops.logical_and(columns >= 0, columns < width)[:, None, :],
    )
    # One gather for shift and mirror: pixel (r, c) of image b is a row of the flattened batch.
    pixels = (
        (ops.arange(batch) * (height * width))[:, None, None]
        + (ops.clip(rows, 0, height - 1) * width)[:, :, None]
        + ops.clip(columns, 0, width - 1)[:, None, :]
    )
    moved = ops.take(ops.reshape(images, (-1, channels)), pixels, axis=0)
    return ops.where(inside[..., None], moved, ops.zeros_like(moved))


def _near(length: int, draw: Any, side: int) -> Any:
    """Tells which of `length` places lie within `side` of a random one: bool [batch, length]."""
    distance = ops.arange(length)[None] - (_integers(draw, length) - side // 2)
    return ops.logical_and(distance >= 0, distance < side)


def _integers(draws: Any, count: int) -> Any:
    """Turns numbers in [0, 1) into integers in [0, count)."""
    # The product of a number just below 1 may round up to `count`.
    return ops.minimum(ops.cast(ops.floor(draws * count), "int32"), count - 1)


def _checked(path: str, split: str, arrays: dict[str, np.ndarray]) -> Arrays:
    for key in (f"{split}_images", f"{split}_labels"):
        if key not in arrays:
            raise DataError(f"{path} has no array {key}: it has {', '.join(sorted(arrays))}.")
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim == 4 and images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise DataError(
            f"{split}_images in {path} is {images.dtype} {list(images.shape)}: needed is uint8 "
            "[n, height, width, 3]."
        )
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{split}_labels in {path} is {labels.dtype} {list(labels.shape)}: needed is one "
            f"integer for each of the {len(images)} images."
        )
    if not len(images) or labels.min() < 0:
        raise DataError(
            f"The {split} split in {path} is empty or has labels below 0: needed are images with "
            "labels from 0."
        )
    return images, labels.astype(np.int32)
