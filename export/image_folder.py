"""Image files of a folder, decoded and resized as the images of an evaluation are."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from drnet_tf.data.decoding import whole_or_centre
from drnet_tf.errors import UserError

#: What TensorFlow decodes. Of an animated GIF the first picture is taken.
SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png")

_BMP_HEADER = b"BM"


class UnreadableImage(Exception):
    """A file that is no image, or a damaged one. The message is one line."""


def list_images(folder: pathlib.Path | str) -> list[str]:
    """Paths of the image files in a folder and below, relative to it, sorted.

    Raises:
        UserError: there are none.
    """
    found = []
    for where, _, names in os.walk(folder, followlinks=True):
        found += [
            pathlib.Path(where, name).relative_to(folder).as_posix()
            for name in names
            if name.lower().endswith(SUFFIXES)
        ]
    if not found:
        raise UserError(f"{folder} has no image files: their names end in {', '.join(SUFFIXES)}")
    return sorted(found)


def read_image(path: pathlib.Path | str, image_size: int, fixed_square: bool) -> np.ndarray:
    """Reads an image file.

    Args:
        image_size: height and width to bring it to.
        fixed_square: whether the model's data set holds squares of one size, which are resized
            whole. A file that is no square, and every file where the data set holds images of
            any size, is resized until its short side is image_size / 0.875, and its center cropped.

    Returns:
        uint8 [image_size, image_size, 3].

    Raises:
        UnreadableImage: it is damaged, or no image.
    """
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImage(error.strerror or type(error).__name__) from error
    try:
        image = _decode(content)
        if fixed_square:
            return whole_or_centre(image, image_size).numpy()
        return _centre(image_size)(image).numpy()
    except (tf.errors.OpError, ValueError) as error:
        raise UnreadableImage(_reason(error, content)) from error


def _decode(content: bytes) -> tf.Tensor:
    # BMP is the one format whose channels TensorFlow does not convert.
    channels = 0 if content.startswith(_BMP_HEADER) else 3
    image = tf.io.decode_image(content, channels, expand_animations=False)
    if image.shape[-1] == 1:
        image = tf.image.grayscale_to_rgb(image)
    return image[..., :3]


@functools.cache
def _centre(image_size: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """`whole_or_centre` of an image that says as little of its size as those of a data set do."""
    signature = [tf.TensorSpec([None, None, 3], tf.uint8)]
    return tf.function(
        lambda image: whole_or_centre(image, image_size),
        input_signature=signature,
        autograph=False,
    )


def _reason(error: Exception, content: bytes) -> str:
    if not content:
        return "the file is empty"
    message = getattr(error, "message", str(error))
    # Without the name of the operation, which says nothing of the file.
    text = message.replace("{{function_node", "").split("}}")[-1]
    return " ".join(text.split(" [Op:")[0].split())[:200]
