"""Images to classify, of a folder or of a data set, in a fixed order and from any number on."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from drnet_tf.data.evaluation_images import EvaluationImages, open_images
from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from export.folder.export import Export
from export.score.image_folder import list_images, read_image, start_decoding


@dataclasses.dataclass(frozen=True)
class Image:
    """Holds one image to classify.

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
    """Gives images in a fixed order.

    Args:
        column: of the table, with what names an image; and its type, see `ScoreParts`.
        count: how many there are.
        fingerprint: a text that is another one where the images are.
        images: those from a number on.
    """

    column: tuple[str, str]
    count: int
    fingerprint: str
    images: Callable[[int], Iterator[Image]]


def folder_source(
    folder: pathlib.Path | str, image_size: int, fit: Fit, class_names: Sequence[str]
) -> Source:
    """Gives the image files of a folder.

    Args:
        image_size, fit: see `read_image`.
        class_names: a file in a folder with one of these names has it as its label.
    """
    paths = list_images(folder)
    start_decoding()

    def image(path: str) -> Image:
        parent = pathlib.PurePosixPath(path).parent.name
        return Image(
            path,
            parent if parent in class_names else "",
            lambda: read_image(pathlib.Path(folder, path), image_size, fit),
        )

    digest = hashlib.sha256("\0".join(paths).encode(errors="surrogateescape")).hexdigest()
    fingerprint = f"{pathlib.Path(folder).resolve()} {digest}"
    return Source(
        ("path", "string"), len(paths), fingerprint, lambda first: map(image, paths[first:])
    )


def dataset_source(images: EvaluationImages, name: str, split: str) -> Source:
    """Gives the images of a split of a data set."""

    def from_number(first: int) -> Iterator[Image]:
        index = 0
        for pixels, labels in images.batches(split, 256):
            for image, label in zip(pixels, labels, strict=True):
                if index >= first:
                    yield Image(str(index), images.class_names[label], _constant(image))
                index += 1

    return Source(("index", "int64"), images.count(split), f"{name} {split}", from_number)


def _constant(pixels: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: pixels


def open_source(name: str, data_dir: str | None, split: str, export: Export) -> Source:
    """Opens the images to classify with an export: of a folder of that name, else of a data set."""
    if pathlib.Path(name).is_dir():
        return folder_source(name, export.image_size, export.fit, export.class_names)
    if name.startswith((".", "/", "~")) and not name.endswith(".npz"):
        raise UserError(f"there is no folder {name}")
    return dataset_source(open_images(name, data_dir, export.image_size), name, split)
