"""The device pipeline: arrays, and augmentation in Keras against NumPy's pad and slices."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.catalogue import Dataset
from drnet_tf.data.errors import DataError
from drnet_tf.data.in_memory import augment_batch, batch_seed, load_npz, load_tfds
from drnet_tf.data.pipeline import evaluation_batches
from tests.source_tree import ROOT

SEED = batch_seed(1, 2, 3)


def _images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (count, height, width, 3), np.uint8)


def _augment(images: np.ndarray, augmentation: Augmentation, seed=SEED) -> np.ndarray:
    return keras.ops.convert_to_numpy(augment_batch(images, seed, augmentation))


def test_crop_is_a_window_of_the_padded_image_mirrored_or_not() -> None:
    images = _images(200, 5, 7)
    result = _augment(images, Augmentation(crop_padding=2, flip=True))
    assert result.dtype == np.float32
    seen = set()
    for image, actual in zip(images, result, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        found = [
            (top, left, step)
            for top in range(5)
            for left in range(5)
            for step in (1, -1)
            if np.array_equal(padded[top : top + 5, left : left + 7][:, ::step], actual)
        ]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) > 40  # of 5 * 5 * 2
    assert {top for top, _, _ in seen} == {left for _, left, _ in seen} == set(range(5))


def test_flip_alone_mirrors_about_half() -> None:
    images = _images(400, 3, 4)
    result = _augment(images, Augmentation(flip=True))
    mirrored = (result == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert np.array_equal(result[~mirrored], images[~mirrored])
    assert 160 < mirrored.sum() < 240  # four standard deviations


def test_cutout_fills_one_clipped_square_around_a_pixel_of_the_image() -> None:
    images = _images(300, 8, 8)
    fill = np.array([0.25, 0.5, 0.75], np.float32)
    result = _augment(images, Augmentation(cutout=4, fill=tuple(fill)))
    centres = set()
    for image, actual in zip(images, result, strict=True):
        found = []
        for row in range(8):
            for column in range(8):
                expected = image.astype(np.float32)
                expected[max(0, row - 2) : row + 2, max(0, column - 2) : column + 2] = fill
                if np.array_equal(expected, actual):
                    found.append((row, column))
        assert found
        centres.add(found[0])
    assert len(centres) > 40  # of 64, of which the ones at the border may look alike


def test_no_augmentation_only_turns_pixels_into_floats() -> None:
    images = _images(4, 6, 6)
    assert np.array_equal(_augment(images, Augmentation()), images.astype(np.float32))


def test_result_is_a_function_of_the_seed() -> None:
    images, augmentation = _images(16, 8, 8), Augmentation(crop_padding=2, flip=True, cutout=3)
    first = _augment(images, augmentation, 7)
    assert np.array_equal(first, _augment(images, augmentation, 7))
    assert np.array_equal(first, _augment(images, augmentation, np.array([7, 0])))
    others = [8, np.array([7, 1]), batch_seed(7, 0, 0), batch_seed(7, 1, 0), batch_seed(7, 0, 1)]
    results = [_augment(images, augmentation, seed) for seed in others]
    assert len({result.tobytes() for result in [first, *results]}) == 1 + len(others)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is about tf.function")
def test_one_compiled_function_serves_every_seed() -> None:
    import tensorflow as tf

    images, augmentation = _images(16, 8, 8), Augmentation(crop_padding=2, flip=True, cutout=3)
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 8, 8, 3], tf.uint8),
            tf.TensorSpec([2], tf.int32),
        ]
    )
    def compiled(images, seed):
        traces.append(1)
        return augment_batch(images, seed, augmentation)

    for step in range(3):
        seed = batch_seed(0, 0, step)
        assert np.array_equal(compiled(images, seed), _augment(images, augmentation, seed))
    assert len(traces) == 1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is about XLA in TensorFlow")
def test_crops_are_windows_and_reproducible_under_xla() -> None:
    import tensorflow as tf

    images, augmentation = _images(32, 5, 5), Augmentation(crop_padding=1, flip=True)
    compiled = tf.function(
        lambda images, seed: augment_batch(images, seed, augmentation),
        jit_compile=True,
        autograph=False,
    )
    result = compiled(tf.constant(images), tf.constant(SEED)).numpy()
    again = compiled(tf.constant(images), tf.constant(SEED)).numpy()
    assert np.array_equal(result, again)
    for image, actual in zip(images, result, strict=True):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        windows = [padded[r : r + 5, c : c + 5] for r in range(3) for c in range(3)]
        windows += [window[:, ::-1] for window in windows]
        assert sum(np.array_equal(window, actual) for window in windows) == 1


_ON_JAX = """
import sys, types
sys.modules["drnet_tf"] = package = types.ModuleType("drnet_tf")
package.__path__ = ["drnet_tf"]
import jax, numpy as np
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.in_memory import augment_batch, batch_seed, load_npz
from drnet_tf.data.order import epoch_order
assert "tensorflow" not in sys.modules
augmentation = Augmentation(crop_padding=2, flip=True, cutout=3)
images = np.random.default_rng(0).integers(1, 256, (16, 8, 8, 3), np.uint8)
compiled = jax.jit(lambda images, seed: augment_batch(images, seed, augmentation))
results = [np.asarray(compiled(images, batch_seed(0, 0, step))) for step in (0, 1)]
expected = np.asarray(augment_batch(images, batch_seed(0, 0, 0), augmentation))
assert results[0].dtype == np.float32 and np.array_equal(results[0], expected)
assert not np.array_equal(*results)
plain = np.asarray(augment_batch(images, 5, Augmentation(crop_padding=2)))
for image, actual in zip(images, plain):
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    windows = [padded[r : r + 8, c : c + 8] for r in range(5) for c in range(5)]
    assert any(np.array_equal(window, actual) for window in windows)
"""


@pytest.mark.slow
def test_augments_on_jax_without_tensorflow() -> None:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", _ON_JAX], check=True, cwd=ROOT, env=environment)


@pytest.mark.parametrize("part", [{"autoaugment": "cifar10"}, {"random_resized_crop": True}])
def test_what_only_tf_data_can_do_is_refused(part: dict) -> None:
    with pytest.raises(DataError, match="tf.data pipeline only"):
        augment_batch(_images(2, 4, 4), 0, Augmentation(**part))


def test_arrays_of_a_dataset_are_what_evaluation_reads(digits: Dataset) -> None:
    loaded = load_tfds(digits, image_size=8)
    assert loaded.class_names == digits.class_names
    for split in ("train", "validation", "test"):
        images, labels = loaded.splits[split]
        assert images.dtype == np.uint8 and labels.dtype == np.int32
        batches = evaluation_batches(digits, split, image_size=8, batch_size=2000)
        expected_images, expected_labels = next(batches.as_numpy_iterator())
        assert np.array_equal(images, expected_images)
        assert np.array_equal(labels, expected_labels)


def _arrays(**changes) -> dict:
    arrays = {
        "train_images": _images(4, 5, 5),
        "train_labels": np.array([0, 1, 2, 1]),
        "test_images": _images(2, 5, 5),
        "test_labels": np.array([2, 0]),
        "class_names": np.array(["a", "b", "c"]),
    }
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


def test_npz_without_validation_or_names_or_colour_is_read(tmp_path: Path) -> None:
    grey = _images(4, 5, 5)[..., 0]
    np.savez(tmp_path / "x.npz", **_arrays(train_images=grey, class_names=None))
    loaded = load_npz(str(tmp_path / "x.npz"))
    assert loaded.class_names == ("0", "1", "2")
    assert sorted(loaded.splits) == ["test", "train"]
    images, labels = loaded.splits["train"]
    assert all(np.array_equal(images[..., channel], grey) for channel in range(3))
    assert labels.dtype == np.int32 and labels.tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "no array test_labels"),
        ({"validation_images": _images(2, 5, 5)}, "no array validation_labels"),
        ({"train_images": _images(4, 5, 5) / 255}, r"train_images .* float64 .* needed is uint8"),
        ({"train_images": _images(4, 5, 5)[..., :2]}, r"train_images .* needed is uint8"),
        ({"train_labels": np.array([0, 1])}, "one integer for each of the 4 images"),
        ({"train_labels": np.array([0.0, 1, 1, 0])}, "one integer for each of the 4 images"),
        ({"train_labels": np.array([0, 1, -1, 0])}, "labels below 0"),
        ({"class_names": np.array(["a"])}, "1 class names for labels up to 2"),
        ({"test_images": _images(0, 5, 5), "test_labels": np.zeros(0, int)}, "test split .* empty"),
    ],
)
def test_unsuitable_npz_says_what_is_wrong(tmp_path: Path, changes: dict, message: str) -> None:
    np.savez(tmp_path / "x.npz", **_arrays(**changes))
    with pytest.raises(DataError, match=message):
        load_npz(str(tmp_path / "x.npz"))


def test_missing_or_damaged_npz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(DataError, match="x.npz does not exist"):
        load_npz(str(path))
    np.savez(path, **_arrays())
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[200] ^= 0xFF
    for content in (whole[: len(whole) // 2], bytes(damaged), b"", b"not an npz"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="x.npz is not a readable .npz"):
            load_npz(str(path))
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="x.npz is not a readable .npz"):
        load_npz(str(path))
