"""Crop, flip and cutout against NumPy's pad and slices: every result must be a possible one."""

import numpy as np
import tensorflow as tf

from drnet_tf.data.crop_flip_cutout import cutout, random_crop_and_flip

SEED = tf.constant([3, 4], tf.int64)


def _images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (count, height, width, 3), np.uint8)


def test_crop_is_a_window_of_the_padded_image_mirrored_or_not() -> None:
    padding, images = 2, _images(200, 5, 7)
    result = random_crop_and_flip(tf.constant(images), SEED, padding=padding, flip=True).numpy()
    assert result.dtype == np.uint8
    seen = set()
    for image, actual in zip(images, result, strict=True):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        found = [
            (top, left, flip)
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            for flip in (False, True)
            if np.array_equal(
                padded[top : top + 5, left : left + 7][:, :: -1 if flip else 1], actual
            )
        ]
        assert len(found) == 1
        seen.update(found)
    assert {top for top, _, _ in seen} == {left for _, left, _ in seen} == set(range(5))
    flipped = sum(flip for _, _, flip in seen) / len(seen)
    assert 0.3 < flipped < 0.7


def test_flip_alone_mirrors_about_half() -> None:
    images = _images(400, 3, 4)
    result = random_crop_and_flip(tf.constant(images), SEED, padding=0, flip=True).numpy()
    mirrored = np.array(
        [np.array_equal(a, b[:, ::-1]) for a, b in zip(result, images, strict=True)]
    )
    assert np.array_equal(result[~mirrored], images[~mirrored])
    assert 160 < mirrored.sum() < 240  # four standard deviations


def test_nothing_asked_changes_nothing() -> None:
    images = tf.constant(_images(4, 6, 6))
    assert random_crop_and_flip(images, SEED, padding=0, flip=False) is images
    assert cutout(images, SEED, side=0, fill=(0.0, 0.0, 0.0)) is images


def test_cutout_fills_one_clipped_square_around_a_pixel_of_the_image() -> None:
    images = _images(300, 8, 8).astype(np.float32)
    fill = np.array([0.25, 0.5, 0.75], np.float32)
    result = cutout(tf.constant(images), SEED, side=4, fill=tuple(fill)).numpy()
    centres = set()
    for image, actual in zip(images, result, strict=True):
        found = []
        for row in range(8):
            for column in range(8):
                expected = image.copy()
                rows = slice(max(0, row - 2), row + 2)
                expected[rows, max(0, column - 2) : column + 2] = fill
                if np.array_equal(expected, actual):
                    found.append((row, column))
        assert found
        centres.add(found[0])
    assert len(centres) > 40  # of 64, of which the ones at the border may look alike


def test_same_seed_same_result_and_another_seed_another() -> None:
    images = tf.constant(_images(16, 8, 8))

    def run(seed: list[int]) -> np.ndarray:
        return random_crop_and_flip(
            images, tf.constant(seed, tf.int64), padding=2, flip=True
        ).numpy()

    assert np.array_equal(run([1, 2]), run([1, 2]))
    assert not np.array_equal(run([1, 2]), run([1, 3]))
