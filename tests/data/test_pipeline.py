"""What the tf.data pipelines deliver, and that it is a function of (seed, epoch) alone."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from drnet_tf.data import pipeline, reading
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.catalogue import Dataset, open_dataset
from drnet_tf.data.decoding import as_evaluated, random_resized_crop
from drnet_tf.data.errors import DataError
from drnet_tf.data.order import epoch_order, epoch_seed
from drnet_tf.data.pipeline import evaluation_batches, steps_per_epoch, training_batches
from drnet_tf.errors import UserError

PLAIN = Augmentation()
ALL = Augmentation(crop_padding=1, flip=True, cutout=2)


def _train(dataset: Dataset, **changes) -> list[tuple[np.ndarray, np.ndarray]]:
    arguments = {"image_size": 8, "batch_size": 40, "augmentation": ALL, "seed": 1, "epoch": 0}
    return list(training_batches(dataset, **{**arguments, **changes}).as_numpy_iterator())


def _equal(one: list, other: list) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@pytest.fixture
def few(digits: Dataset) -> Dataset:
    """Digits with 170 training images: four batches of 40 and a rest."""
    splits = {**digits.splits, "train": "train[:170]"}
    return replace(digits, splits=splits, num_examples={**digits.num_examples, "train": 170})


@pytest.fixture(params=["in memory", "stream"])
def any_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test on either way of reading; small sets would always take the first."""
    if request.param == "stream":
        monkeypatch.setattr(reading, "_LARGEST_DECODED_BYTES", 0)
    return request.param


def test_training_batches_are_full_float_pixels_with_labels(few: Dataset, any_path) -> None:
    batches = training_batches(few, image_size=8, batch_size=40, augmentation=ALL, seed=0, epoch=0)
    assert batches.element_spec == (
        tf.TensorSpec([40, 8, 8, 3], tf.float32),
        tf.TensorSpec([40], tf.int32),
    )
    assert len(batches) == steps_per_epoch(few, 40) == 4
    found = list(batches.as_numpy_iterator())
    assert len(found) == 4
    assert min(images.min() for images, _ in found) == 0
    assert max(images.max() for images, _ in found) == 255


def test_processes_have_equal_parts_of_every_batch(few: Dataset, any_path) -> None:
    whole = _train(few, augmentation=PLAIN, skip_batches=1)
    shares = [_train(few, augmentation=PLAIN, skip_batches=1, share=(i, 2)) for i in (0, 1)]
    together = [
        tuple(np.concatenate(part) for part in zip(*batch, strict=True))
        for batch in zip(*shares, strict=True)
    ]
    assert len(whole) == 3
    assert _equal(together, whole)


def test_processes_do_not_augment_in_the_same_way(few: Dataset) -> None:
    # All images are alike, so that only the augmentation can differ.
    alike = tf.ones([170, 8, 8, 3], tf.uint8), tf.zeros([170], tf.int32)
    few = replace(few, decoded={(few.splits["train"], 8): alike})
    (first, _), *_ = _train(few, share=(0, 2))
    (second, _), *_ = _train(few, share=(1, 2))
    assert not np.array_equal(first, second)


def test_an_epoch_without_augmentation_is_a_shuffle_of_the_split(few: Dataset, any_path) -> None:
    batches = _train(few, augmentation=PLAIN, batch_size=34)  # 5 * 34 is all 170
    stored = list(evaluation_batches(few, "train", image_size=8, batch_size=63).as_numpy_iterator())

    def content(found: list) -> list[tuple[bytes, int]]:
        return [
            (image.tobytes(), int(label))
            for images, labels in found
            for image, label in zip(images, labels, strict=True)
        ]

    assert Counter(content(batches)) == Counter(content(stored))
    positions = {key: place for place, key in enumerate(content(stored))}
    moved = [abs(positions[key] - place) for place, key in enumerate(content(batches))]
    assert np.mean(moved) > 170 / 4  # a third for a shuffle over the whole set


def test_batches_depend_on_seed_and_epoch_only(few: Dataset, any_path) -> None:
    first = _train(few)
    assert _equal(first, _train(few))
    assert not _equal(first, _train(few, seed=2))
    assert not _equal(first, _train(few, epoch=1))


@pytest.mark.parametrize("augmentation", [ALL, Augmentation(random_resized_crop=True, flip=True)])
def test_skipping_continues_with_the_same_batches(
    few: Dataset, any_path, augmentation: Augmentation
) -> None:
    whole = _train(few, augmentation=augmentation)
    assert _equal(whole[3:], _train(few, augmentation=augmentation, skip_batches=3))
    assert _train(few, augmentation=augmentation, skip_batches=4) == []
    assert _train(few, augmentation=augmentation, skip_batches=5) == []


def test_both_paths_serve_equal_evaluation_batches(digits: Dataset, monkeypatch) -> None:
    def read(**arguments) -> list:
        batches = evaluation_batches(digits, "test", image_size=8, batch_size=96, **arguments)
        return list(batches.as_numpy_iterator())

    in_memory = read()
    monkeypatch.setattr(reading, "_LARGEST_DECODED_BYTES", 0)
    assert _equal(in_memory, read())
    assert [len(labels) for _, labels in in_memory] == [96, 96, 96, 96, 16]
    assert in_memory[0][0].dtype == np.float32 and in_memory[0][1].dtype == np.int32
    limited = read(limit=100)
    assert [len(labels) for _, labels in limited] == [96, 4]
    assert np.array_equal(limited[1][0], in_memory[1][0][:4])


def test_autoaugment_and_crops_are_reproducible_in_the_pipeline(few: Dataset) -> None:
    augmentation = Augmentation(autoaugment="cifar10", crop_padding=1, cutout=2)
    whole = _train(few, augmentation=augmentation)
    assert _equal(whole[3:], _train(few, augmentation=augmentation, skip_batches=3))
    assert all(images.min() >= 0 and images.max() <= 255 for images, _ in whole)


def test_batch_larger_than_the_split_is_refused(digits: Dataset) -> None:
    with pytest.raises(DataError, match="1198 is larger than the train split .* at most 1197"):
        _train(digits, batch_size=1198)
    with pytest.raises(UserError, match="batch size must be 1 or more"):
        steps_per_epoch(digits, 0)
    with pytest.raises(UserError, match="limit must be 1"):
        evaluation_batches(digits, "test", image_size=8, batch_size=8, limit=0)
    with pytest.raises(DataError, match="no 'tests' split"):
        evaluation_batches(digits, "tests", image_size=8, batch_size=8)


def test_square_images_are_resized_whole_as_pillow_does(digits: Dataset) -> None:
    small = next(
        iter(evaluation_batches(digits, "test", image_size=8, batch_size=4).as_numpy_iterator())
    )[0]
    large = next(
        iter(evaluation_batches(digits, "test", image_size=16, batch_size=4).as_numpy_iterator())
    )[0]
    for image, actual in zip(small.astype(np.uint8), large, strict=True):
        expected = Image.fromarray(image).resize((16, 16), Image.Resampling.BILINEAR)
        assert np.abs(actual - np.asarray(expected)).max() <= 1


def test_other_images_lose_their_borders() -> None:
    # A horizontal ramp, 96 high and 160 wide: short side to 64 / 0.875, centre 64 of it.
    ramp = np.broadcast_to(np.arange(160, dtype=np.uint8)[None, :, None], (96, 160, 3))
    result = as_evaluated(tf.constant(ramp), 64).numpy()
    assert result.shape == (64, 64, 3) and result.dtype == np.uint8
    scale = 64 / 0.875 / 96
    width = round(160 * scale)
    left = (width - 64) // 2
    expected = (left + np.arange(64) + 0.5) * 160 / width - 0.5
    assert np.abs(result[:, :, 0] - expected).max() <= 1
    tall = as_evaluated(tf.constant(ramp.transpose(1, 0, 2)), 64).numpy()
    assert np.array_equal(tall, result.transpose(1, 0, 2))


def test_random_resized_crop_is_a_window_of_the_image() -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3))
    widths = []
    for index in range(50):
        crop = random_resized_crop(tf.constant(ramp), 32, tf.constant([index, 0])).numpy()
        assert crop.shape == (32, 32, 3)
        steps = np.diff(crop[0, :, 0].astype(int))
        assert (steps >= 0).all()  # never mirrored
        widths.append(int(crop[0, -1, 0]) - int(crop[0, 0, 0]))
    assert min(widths) < 70 and max(widths) > 110


def test_images_of_varied_size_stream_from_several_files(tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def examples(count: int) -> list[dict]:
        return [
            {
                "image": random.integers(0, 256, (*random.integers(20, 40, 2), 3), np.uint8),
                "label": index % 3,
            }
            for index in range(count)
        ]

    tfds.dataset_builders.store_as_tfds_dataset(
        name="photos",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(num_classes=3),
            }
        ),
        split_datasets={
            "train": enumerate(examples(60)),
            "test": enumerate(examples(7)),
        },
        data_dir=tmp_path,
    )
    dataset = open_dataset("photos", str(tmp_path))
    assert dataset.class_names == ("0", "1", "2")
    augmentation = Augmentation(random_resized_crop=True, flip=True)
    arguments = {"image_size": 16, "batch_size": 10, "augmentation": augmentation}
    whole = _train(dataset, **arguments)
    assert [images.shape for images, _ in whole] == [(10, 16, 16, 3)] * 5
    assert _equal(whole[2:], _train(dataset, **arguments, skip_batches=2))
    test = evaluation_batches(dataset, "test", image_size=16, batch_size=4)
    assert [images.shape[0] for images, _ in test.as_numpy_iterator()] == [4, 3]


def test_order_is_a_permutation_of_its_own_for_each_epoch() -> None:
    orders = [tuple(epoch_order(50, seed, epoch)) for seed in (-1, 0, 1) for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == 9
    assert len({epoch_seed(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


@pytest.mark.skipif("DRNET_CIFAR10_DIR" not in os.environ, reason="needs a prepared CIFAR-10")
def test_prepared_cifar10_has_its_splits() -> None:
    dataset = open_dataset("cifar10", os.environ["DRNET_CIFAR10_DIR"], download=False)
    assert dict(dataset.num_examples) == {"train": 45000, "validation": 5000, "test": 10000}
    batches = evaluation_batches(dataset, "test", image_size=32, batch_size=1000)
    labels = np.concatenate([labels for _, labels in batches.as_numpy_iterator()])
    assert np.bincount(labels).tolist() == [1000] * 10


def test_epochs_share_one_compiled_augmentation(few: Dataset, monkeypatch) -> None:
    traced = []
    augmented = pipeline._augmented
    monkeypatch.setattr(
        pipeline, "_augmented", lambda *arguments: traced.append(1) or augmented(*arguments)
    )
    # An augmentation that no other test uses, so that it is not compiled yet.
    changes = {"augmentation": Augmentation(crop_padding=3), "batch_size": 30}
    epochs = [_train(few, **changes, epoch=epoch) for epoch in range(3)]
    assert len(traced) == 1
    assert not _equal(epochs[0], epochs[1])
