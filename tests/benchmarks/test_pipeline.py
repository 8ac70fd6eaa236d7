"""The stages that the pipeline benchmark measures are those of the pipeline; times are not."""

import dataclasses

import numpy as np

from benchmarks.pipeline import augmentation_stages, device_stage, measure, tfdata_stages
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.catalogue import open_dataset
from drnet_tf.data.in_memory import load_tfds
from drnet_tf.data.pipeline import training_batches
from drnet_tf.training.feeds import DeviceFeed

CIFAR10 = Augmentation(crop_padding=4, flip=True, cutout=16, autoaugment="cifar10")
SMALL = Augmentation(crop_padding=1, cutout=2)


def test_stages_go_from_no_augmentation_to_all_of_it_one_part_at_a_time():
    stages = augmentation_stages(CIFAR10)
    names = ["shuffle and batch", "autoaugment", "crop and flip", "cutout"]
    assert [name for name, _ in stages] == names
    assert stages[0][1] == Augmentation()
    assert stages[2][1] == dataclasses.replace(CIFAR10, cutout=0)
    assert stages[-1][1] == CIFAR10


def test_part_that_is_switched_off_is_no_stage():
    stages = augmentation_stages(Augmentation(random_resized_crop=True, flip=True))
    assert [name for name, _ in stages[1:]] == ["random resized crop", "crop and flip"]


def test_last_stage_gives_the_batches_of_training_and_each_is_measured_in_each_turn(tmp_path):
    dataset = open_dataset("digits", str(tmp_path))
    stages = tfdata_stages(dataset, 8, 32, SMALL, seed=3)
    settings = dict(image_size=8, batch_size=32, augmentation=SMALL, seed=3)
    expected = next(iter(training_batches(dataset, epoch=1, **settings)))
    actual = next(iter(stages[-1].open(1)))
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    feed = DeviceFeed(load_tfds(dataset, image_size=8), 8, False, 32, SMALL, 3)
    stages.append(device_stage(feed))
    rates = measure(stages, seconds=0, turns=2)
    assert [stage.name for stage in stages] == [
        "read files",
        "decode",
        "shuffle and batch",
        "crop and flip",
        "cutout",
        "device feed",
    ]
    assert all(len(values) == 2 and min(values) > 0 for values in rates)
