"""From a stored image to uint8 [image_size, image_size, 3].

Pixels stay whole numbers, as a phone or a server would get them from an image file.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_datasets as tfds

from drnet_tf.data.fit import Fit

# The customary 256 for a crop of 224.
_SHORT_SIDE_OVER_CROP = 1 / 0.875


def decode(record: tf.Tensor, feature: tfds.features.Image) -> tf.Tensor:
    """Decodes the encoded bytes of one image: uint8 [height, width, 3], grey repeated."""
    image = feature.decode_example(record)
    if feature.shape[-1] == 1:
        image = tf.image.grayscale_to_rgb(image)
    return tf.ensure_shape(image, (*feature.shape[:2], 3))


def as_evaluated(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Makes a stored image [height, width, 3] square without chance.

    Images of a fixed square shape are resized whole (bilinear). All others, those of ImageNet for
    example, are resized until the short side is image_size / 0.875, and the centre is cropped.
    """
    if fit_of(image.shape) is Fit.WHOLE:
        return _resize(image, [image_size, image_size])
    return fitted(image, image_size, Fit.CENTRE_CROP)


def fit_of(shape: tuple[int | None, ...] | tf.TensorShape) -> Fit:
    """Returns what a data set asks for whose images are stored as [height, width, 3]."""
    height, width, _ = shape
    return Fit.WHOLE if height is not None and height == width else Fit.CENTRE_CROP


def fitted(image: tf.Tensor, image_size: int, fit: Fit) -> tf.Tensor:
    """Resizes an image [height, width, 3] of any shape by its short side and crops the centre."""
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    short_side = image_size if fit is Fit.WHOLE else image_size * _SHORT_SIDE_OVER_CROP
    scale = short_side / tf.reduce_min(size)
    # The short side must not round to less than the crop.
    resized_size = tf.maximum(tf.cast(tf.round(size * scale), tf.int32), image_size)
    resized = _resize(image, resized_size)
    top, left = tf.unstack((resized_size - image_size) // 2)
    return tf.ensure_shape(
        resized[top : top + image_size, left : left + image_size], [image_size, image_size, 3]
    )


def random_resized_crop(image: tf.Tensor, image_size: int, seed: tf.Tensor) -> tf.Tensor:
    """Cuts a random rectangle out of an image [height, width, 3] and resizes it to a square.

    The rectangle has 8% to 100% of the area and an aspect ratio of 3/4 to 4/3, as is customary for
    ImageNet; where none is found in 10 attempts, it is the whole image.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        bounding_boxes=tf.zeros([1, 0, 4]),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    crop = tf.ensure_shape(tf.slice(image, begin, size), [None, None, 3])
    return _resize(crop, [image_size, image_size])


def _resize(image: tf.Tensor, size: tf.Tensor | list[int]) -> tf.Tensor:
    if isinstance(size, list) and list(image.shape[:2]) == size:
        return image
    resized = tf.image.resize(image, size, method="bilinear")
    return tf.cast(tf.round(tf.clip_by_value(resized, 0.0, 255.0)), tf.uint8)
