"""The command that describes a run, read back as the command line reads it."""

import dataclasses

import pytest

from drnet_tf import training_flags
from drnet_tf.data import Augmentation
from drnet_tf.models import model_config
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.drnet.recipes import RECIPES
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.workdir import Run
from tests.training.commands import only_flags_of


def describe(recipe, augmentation, settings, **architecture):
    config = model_config("drnet_s.cifar10", **architecture)
    augmentation = dataclasses.replace(augmentation, fill=config.mean)
    return Run("drnet_s.cifar10", config, "cifar10", recipe, augmentation, settings)


@pytest.mark.parametrize(
    "run",
    [
        describe(Recipe(), Augmentation(), Settings()),
        describe(
            RECIPES["fast"].of_epochs(4),
            Augmentation(crop_padding=4, flip=True, autoaugment="cifar10"),
            Settings(seed=3, input_pipeline="device", train_on_validation=True),
            channels=8,
            branches=("skip", "sep_conv_3x3"),
            router="none",
        ),
    ],
)
def test_reading_the_command_gives_the_run(run):
    with only_flags_of(training_flags):
        training_flags.flags.FLAGS(training_flags.command_of(run).split()[2:])
        assert training_flags.read_run() == run


def test_the_command_says_that_there_is_a_folder_of_data_but_not_which():
    run = describe(Recipe(), Augmentation(), Settings(data_dir="somewhere"))
    assert "--data_dir=DIR" in training_flags.command_of(run)
    assert "somewhere" not in training_flags.command_of(run)
