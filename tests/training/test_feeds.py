"""Feeds give the same batches whatever happened before, on the host and on the device."""

import numpy as np
import pytest

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.errors import UserError
from drnet_tf.models import model_config
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.workdir import Run
from drnet_tf.training.feeds import open_feed


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "set.npz"
    arrays = {}
    for split, count in (("train", 10), ("validation", 4), ("test", 6)):
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 8, 8, 3), "uint8")
        arrays[f"{split}_labels"] = np.arange(count, dtype="int32") % 3
    np.savez(path, **arrays, class_names=np.array(["a", "b", "c"]))
    return path, arrays


PLAIN = Augmentation()


def run_on(dataset, pipeline, image_size=8, batch_size=4, augmentation=PLAIN, **settings):
    config = model_config("drnet_xs.digits", image_size=image_size)
    settings = Settings(input_pipeline=pipeline, **settings)
    recipe = Recipe(batch_size=batch_size)
    return Run("drnet_xs.digits", config, dataset, recipe, augmentation, settings)


def open_npz(npz, pipeline="device", share=(0, 1), **changes):
    return open_feed(run_on(str(npz[0]), pipeline, seed=1, **changes), share=share)


def test_an_epoch_holds_every_image_at_most_once_in_an_order_of_its_own(npz):
    feed = open_npz(npz)
    assert (feed.steps_per_epoch, feed.classes) == (2, 3)
    orders = [np.concatenate([i for i, _ in feed.batches(epoch, 0)]) for epoch in (0, 1)]
    for order in orders:
        assert len(set(order.tolist())) == len(order) == 8
    assert not np.array_equal(*orders)


def test_skipped_batches_leave_the_others_as_they_are(npz):
    feed = open_npz(npz)
    (whole, rest) = (list(feed.batches(3, done)) for done in (0, 1))
    assert len(whole) == 2 and len(rest) == 1
    for a, b in zip(whole[1], rest[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_processes_have_equal_parts_of_every_batch_and_the_same_seed(npz):
    whole = list(open_npz(npz).batches(1, 1))
    parts = [list(open_npz(npz, share=(process, 2)).batches(1, 1)) for process in (0, 1)]
    for (indices, seed), *shares in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate([share[0] for share in shares]), indices)
        for _, share_seed in shares:
            np.testing.assert_array_equal(share_seed, seed)


def test_without_augmentation_the_device_gives_the_stored_pixels(npz):
    feed = open_npz(npz)
    ((indices, seed), *_) = feed.batches(0, 0)
    images, labels = feed.prepare(feed.arrays, indices, seed)
    np.testing.assert_array_equal(np.asarray(images), npz[1]["train_images"][indices])
    np.testing.assert_array_equal(np.asarray(labels), npz[1]["train_labels"][indices])


def test_validation_images_are_trained_on_only_when_asked(npz):
    assert len(open_npz(npz).arrays[0]) == 10
    assert len(open_npz(npz, train_on_validation=True).arrays[0]) == 14


@pytest.mark.parametrize("pipeline", ["tfdata", "device"])
def test_a_set_that_is_held_in_memory_is_read_with_progress_before_training(tmp_path, pipeline):
    reports = []
    run = run_on("digits", pipeline, batch_size=32, data_dir=str(tmp_path))
    open_feed(run, progress=lambda *r: reports.append(r))
    assert (1197, 1197, "train") in reports


def test_a_stream_is_not_read_before_training(tmp_path):
    reports = []
    augmentation = Augmentation(random_resized_crop=True)
    run = run_on("digits", "tfdata", batch_size=32, augmentation=augmentation)
    open_feed(run, data_dir=str(tmp_path), progress=lambda *r: reports.append(r))
    assert not reports


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pipeline": "tfdata"}, "--input_pipeline=device"),
        ({"image_size": 16}, "8 x 8 pixels"),
        ({"batch_size": 11}, "batch_size must be between 1 and 10"),
        ({"augmentation": Augmentation(autoaugment="cifar10")}, "--input_pipeline=tfdata"),
    ],
)
def test_what_does_not_go_together_is_refused(npz, changes, says):
    with pytest.raises(UserError, match=says):
        open_npz(npz, **changes)
