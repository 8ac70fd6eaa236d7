"""The image operations of AutoAugment on batches of uint8, as Pillow defines them.

Each takes images uint8 [n, height, width, 3] and one argument per image, float32 [n], in Pillow's
units, and returns the shape and dtype of the images. n may be 0.

keras-cv does the warping, rotating, sharpening, desaturating, stretching, solarizing and blending,
with the transformation passed in instead of drawn by its layers' own generators, which are not
reproducible. Four operations are written out because keras-cv means something else by the name:
Equalize (its step leaves out the rarest instead of the brightest level), Contrast (it keeps each
channel's mean instead of the mean luminance), Brightness (it adds instead of multiplying) and
Posterize (the layer has one number of bits for all images).

Against Pillow: Equalize, Invert, Solarize, Posterize and translations by whole pixels are exact;
Color, Contrast, Brightness, Sharpness and AutoContrast are within 1 of 255 by rounding; Rotate and
Shear differ where a source coordinate falls between two pixels to within float precision.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from keras_cv.layers import AutoContrast, RandomColorDegeneration, RandomSharpness, Solarization
from keras_cv.src.utils import preprocessing

Operation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# What moves into view: mid-grey, as in the published policies' TensorFlow versions.
BACKGROUND = 128.0
_RANGE = (0, 255)


def rotate(images: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    """Rotates counter-clockwise around the centre, nearest neighbour."""
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    radians = degrees * (3.141592653589793 / 180)
    return _warp(images, preprocessing.get_rotation_matrix(radians, height, width))


def shear_x(images: tf.Tensor, shear: tf.Tensor) -> tf.Tensor:
    """Takes pixel (x, y) from (x + shear * y, y), measured from the image's top left corner."""
    # Pixel centres lie half a pixel inside the corner, which keras-cv's own matrix leaves out.
    return _warp(images, _matrix(images, xy=shear, x=0.5 * shear))


def shear_y(images: tf.Tensor, shear: tf.Tensor) -> tf.Tensor:
    """Takes pixel (x, y) from (x, y + shear * x), measured from the image's top left corner."""
    return _warp(images, _matrix(images, yx=shear, y=0.5 * shear))


def translate_x(images: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Takes pixel (x, y) from (x + pixels, y)."""
    return _warp(images, _matrix(images, x=pixels))


def translate_y(images: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Takes pixel (x, y) from (x, y + pixels)."""
    return _warp(images, _matrix(images, y=pixels))


def color(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blends with the grey image: 0 is grey, 1 the image."""
    layer = RandomColorDegeneration(factor=0.0, dtype="float32")
    # keras-cv counts the other way: 1 is grey.
    return _uint8(layer.augment_images(_float(images), transformations=1.0 - _each(factor)))


def contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blends with the mean luminance: 0 is uniform grey, 1 the image."""
    red, green, blue = tf.unstack(tf.cast(images, tf.int32), axis=-1)
    luminance = (red * 19595 + green * 38470 + blue * 7471 + 32768) // 65536
    mean = tf.reduce_mean(tf.cast(luminance, tf.float32), axis=[1, 2])
    return _blend(_each(tf.floor(mean + 0.5)), images, factor)


def brightness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies: 0 is black, 1 the image."""
    return _blend(0.0, images, factor)


def sharpness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blends with the smoothed image: 0 is smooth, 1 the image, 2 sharpened."""
    layer = RandomSharpness(factor=0.0, value_range=_RANGE, dtype="float32")
    # TensorFlow's depthwise convolution refuses an empty batch: one more image goes along.
    padded = tf.pad(_float(images), [[0, 1], [0, 0], [0, 0], [0, 0]])
    # keras-cv counts the other way: 1 is smooth.
    towards_smooth = 1.0 - _each(tf.pad(factor, [[0, 1]]))
    return _uint8(layer.augment_images(padded, transformations=towards_smooth)[:-1])


def solarize(images: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Inverts the values from the threshold up."""
    layer = Solarization(value_range=_RANGE, dtype="float32")
    transformations = {"thresholds": _each(threshold), "additions": 0.0}
    return _uint8(layer.augment_images(_float(images), transformations=transformations))


def invert(images: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """Inverts all values."""
    return solarize(images, tf.zeros_like(unused))


def posterize(images: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Keeps the upper bits, 1 to 8."""
    mask = 256 - tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32))
    return tf.bitwise.bitwise_and(images, tf.cast(_each(mask), tf.uint8))


def auto_contrast(images: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0..255; a channel of one value stays."""
    del unused
    layer = AutoContrast(value_range=_RANGE, dtype="float32")
    return _uint8(layer.augment_images(_float(images)))


def equalize(images: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """Flattens the histogram of each channel."""
    del unused
    batch, channels = tf.shape(images)[0], images.shape[-1]
    # One histogram for every image and channel, in one count over all pixels.
    plane = tf.reshape(tf.range(batch * channels), [batch, 1, 1, channels])
    bins = plane * 256 + tf.cast(images, tf.int32)
    size = batch * channels * 256
    # tf.math.bincount would look for the largest bin first; no weights count each pixel once.
    histogram = tf.raw_ops.DenseBincount(
        input=tf.reshape(bins, [-1]), size=size, weights=tf.zeros([0], tf.int32)
    )
    histogram = tf.reshape(histogram, [-1, 256])
    below = tf.cumsum(histogram, axis=1, exclusive=True)
    total = tf.reduce_sum(histogram, axis=1, keepdims=True)
    # The number of pixels at the brightest level that occurs: where all others are below.
    brightest = total - tf.reduce_max(tf.where(histogram > 0, below, 0), axis=1, keepdims=True)
    step = (total - brightest) // 255
    table = tf.minimum((step // 2 + below) // tf.maximum(step, 1), 255)
    # A histogram too narrow for a step stays as it is.
    table = tf.cast(tf.where(step > 0, table, tf.range(256)[None]), tf.uint8)
    return tf.gather(tf.reshape(table, [-1]), bins)


OPERATIONS: dict[str, Operation] = {
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "Rotate": rotate,
    "Color": color,
    "Posterize": posterize,
    "Solarize": solarize,
    "Contrast": contrast,
    "Sharpness": sharpness,
    "Brightness": brightness,
    "AutoContrast": auto_contrast,
    "Equalize": equalize,
    "Invert": invert,
}


def _warp(images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Takes each output pixel from where `matrix` [n, 8] sends it."""
    return preprocessing.transform(
        images, matrix, fill_mode="constant", fill_value=BACKGROUND, interpolation="nearest"
    )


def _matrix(images: tf.Tensor, xy=0.0, x=0.0, yx=0.0, y=0.0) -> tf.Tensor:
    """Makes rows (1, xy, x, yx, 1, y, 0, 0): each entry one number for all or float32 [n]."""
    batch = tf.shape(images)[:1]
    entries = (1.0, xy, x, yx, 1.0, y, 0.0, 0.0)
    return tf.stack([tf.broadcast_to(entry, batch) for entry in entries], axis=1)


def _blend(first: tf.Tensor | float, images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return _uint8(preprocessing.blend(first, _float(images), _each(factor)))


def _each(values: tf.Tensor) -> tf.Tensor:
    """Brings [n] to [n, 1, 1, 1]."""
    return values[:, None, None, None]


def _float(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(images, tf.float32)


def _uint8(images: tf.Tensor) -> tf.Tensor:
    # Pillow cuts the fraction off. The small amount undoes float32 errors just below whole numbers.
    return tf.cast(tf.clip_by_value(images + 1e-3, 0.0, 255.0), tf.uint8)
