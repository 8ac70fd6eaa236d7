"""The command that describes a run, read back as the command line reads it."""

import dataclasses

import pytest

from drnet_tf import training_flags
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.errors import UserError
from drnet_tf.models import model_config
from drnet_tf.models.drnet.recipe import RECIPES, Recipe
from drnet_tf.models.family import Variant
from drnet_tf.models.registry import FAMILIES, find_family
from drnet_tf.models.schedules import Optimization
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.workdir import Run
from tests.training.commands import only_flags_of


def describe(recipe, augmentation, settings, model="drnet_s.cifar10", **architecture):
    config = model_config(model, **architecture)
    augmentation = dataclasses.replace(augmentation, fill=config.mean)
    return Run(model, config, "cifar10", recipe, augmentation, settings)


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
        describe(
            find_family("mobilenet_v2.cifar10").recipes["fast"].of_epochs(4),
            Augmentation(flip=True),
            Settings(),
            "mobilenet_v2.cifar10",
            width=0.5,
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


def test_settings_refuse_a_type_without_meaning_where_no_flag_does():
    with pytest.raises(UserError, match="dtype must be one of float32, .* not 'float8"):
        Settings(dtype="float8")


@dataclasses.dataclass(frozen=True)
class OtherConfig:
    """An architecture that has a field which DRNet lacks, and lacks those of DRNet.

    Args:
        image_size: height and width of the input in pixels.
        classes: number of classes.
        width_multiplier: factor of all channels.
    """

    image_size: int = 32
    classes: int = 10
    width_multiplier: float = 1.0

    @classmethod
    def from_dict(cls, values):
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class OtherRecipe(Optimization):
    """A recipe with a field of its own.

    Args:
        epochs: length of the run.
        learning_rate: at its highest.
    """

    epochs: float = 1.0
    learning_rate: float = 0.1


class OtherFamily:
    name, config, recipe = "other", OtherConfig, OtherRecipe
    recipes = {"paper": OtherRecipe()}
    knob, resources = None, ()
    variants = {"other_s": Variant({}, ("cifar10",))}


@pytest.mark.parametrize(
    ("model", "flag", "says"),
    [
        ("drnet_s.cifar10", "width_multiplier=2", "drnet_s.cifar10 has no width_multiplier"),
        ("drnet_s.cifar10", "learning_rate=2", "drnet_s.cifar10 has no learning_rate"),
        ("other_s.cifar10", "cells=2", "other_s.cifar10 has no cells: leave out --cells"),
        ("other_s.cifar10", "drop_branch=0.1", "other_s.cifar10 has no drop_branch"),
        ("other_s.cifar10", "recipe=fast", "other_s.cifar10 has the recipes paper, not fast"),
    ],
)
def test_flags_of_another_family_are_refused_with_one_line(monkeypatch, model, flag, says):
    monkeypatch.setitem(FAMILIES, "other", OtherFamily())
    with only_flags_of(training_flags), pytest.raises(UserError, match=says) as refused:
        values = training_flags.flags.FLAGS
        values(["train", f"--model={model}", "--dataset=cifar10", f"--{flag}"])
        training_flags.read_run()
    assert "\n" not in str(refused.value)


def test_flags_that_families_share_are_those_of_the_models_family(monkeypatch):
    monkeypatch.setitem(FAMILIES, "other", OtherFamily())
    with only_flags_of(training_flags):
        values = training_flags.flags.FLAGS
        shared = ("--momentum=0.5", "--classes=7", "--epochs=3", "--norm_moments_threshold=none")
        values(["train", "--model=drnet_s.cifar10", "--dataset=cifar10", *shared])
        run = training_flags.read_run()
    assert (run.recipe.momentum, run.recipe.epochs, run.config.classes) == (0.5, 3.0, 7)
