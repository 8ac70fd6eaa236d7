"""Image files of a folder, decoded and resized as the images of an evaluation are."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import tensorflow as tf

from drnet_tf.data.decoding import fitted
from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError

#: What TensorFlow decodes. Of an animated GIF the first picture is taken.
SUFFIXES = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png")
_BMP_HEADER = b"BM"


class UnreadableImage(Exception):
    """Says that a file is no image, or a damaged one. The message is one line."""


def list_images(folder: pathlib.Path | str) -> list[str]:
    """Lists the paths of the image files in a folder and below, relative to it, sorted.

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


def start_decoding() -> None:
    """Brings TensorFlow up in the thread that calls this, before others decode.

    Threads that began with it at the same time have crashed once.
    """
    tf.zeros([])


def read_image(path: pathlib.Path | str, image_size: int, fit: Fit) -> np.ndarray:
    """Reads an image file.

    Args:
        image_size: height and width to bring it to.
        fit: how.

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
        return fitted(_decode(content), image_size, fit).numpy()
    except (tf.errors.OpError, ValueError) as error:
        raise UnreadableImage(_reason(error, content)) from error


def _decode(content: bytes) -> tf.Tensor:
    # BMP is the one format whose channels TensorFlow does not convert.
    channels = 0 if content.startswith(_BMP_HEADER) else 3
    image = tf.io.decode_image(content, channels, expand_animations=False)
    if image.shape[-1] == 1:
        image = tf.image.grayscale_to_rgb(image)
    return image[..., :3]


def _reason(error: Exception, content: bytes) -> str:
    if not content:
        return "the file is empty"
    message = getattr(error, "message", str(error))
    # Without the name of the operation, which says nothing of the file.
    text = message.replace("{{function_node", "").split("}}")[-1]
    return " ".join(text.split(" [Op:")[0].split())[:200]
