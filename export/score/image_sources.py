"""Images to classify, of a folder or of a data set, in a fixed order and from any number on."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from drnet_tf.data.evaluation_images import EvaluationImages, open_images
from drnet_tf.errors import UserError
from export.folder.export import resizes_whole
from export.score.image_folder import list_images, read_image, start_decoding
from export.score.parts import Column


@dataclasses.dataclass(frozen=True)
class Image:
    """One image to classify.

    Args:
        name: its path or index.
        label: its true class, "" where it is not known.
        pixels: reads it, [image_size, image_size, 3] in 0..255; raises UnreadableImage.
    """

    name: str
    label: str
    pixels: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Source:
    """Images in a fixed order.

    Args:
        column: of the table, with what names an image.
        count: how many there are.
        fingerprint: a text that is another one where the images are.
        images: those from a number on.
    """

    column: Column
    count: int
    fingerprint: str
    images: Callable[[int], Iterator[Image]]


def folder_source(
    folder: pathlib.Path | str, image_size: int, whole: bool, class_names: Sequence[str]
) -> Source:
    """The image files of a folder.

    Args:
        image_size, whole: see `read_image`.
        class_names: a file in a folder with one of these names has it as its label.

    Raises:
        UserError: there are none.
    """
    paths = list_images(folder)
    start_decoding()

    def image(path: str) -> Image:
        parent = pathlib.PurePosixPath(path).parent.name
        return Image(
            path,
            parent if parent in class_names else "",
            lambda: read_image(pathlib.Path(folder, path), image_size, whole),
        )

    digest = hashlib.sha256("\0".join(paths).encode(errors="surrogateescape")).hexdigest()
    fingerprint = f"{pathlib.Path(folder).resolve()} {digest}"
    return Source(
        Column("path", "string"), len(paths), fingerprint, lambda first: map(image, paths[first:])
    )


def dataset_source(images: EvaluationImages, name: str, split: str) -> Source:
    """The images of a split of a data set.

    Raises:
        DataError: there is no such split.
    """

    def from_number(first: int) -> Iterator[Image]:
        index = 0
        for pixels, labels in images.batches(split, 256):
            for image, label in zip(pixels, labels, strict=True):
                if index >= first:
                    yield Image(str(index), images.class_names[label], _constant(image))
                index += 1

    return Source(Column("index", "int64"), images.count(split), f"{name} {split}", from_number)


def _constant(pixels: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: pixels


def open_source(name: str, data_dir: str | None, split: str, description: dict[str, Any]) -> Source:
    """The images for a model: those of a folder that is there, else of a data set.

    Args:
        name: of the folder or the data set.
        data_dir: folder of prepared data sets.
        split: of a data set.
        description: the content of the model's model.json.

    Raises:
        UserError: there is neither.
    """
    size = description["input"]["shape"][1]
    if pathlib.Path(name).is_dir():
        whole = resizes_whole(description)
        return folder_source(name, size, whole, description["class_names"])
    if name.startswith((".", "/", "~")) and not name.endswith(".npz"):
        raise UserError(f"there is no folder {name}")
    return dataset_source(open_images(name, data_dir, size), name, split)
