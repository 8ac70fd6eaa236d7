"""The recipes in configs/, read as the training command reads them, against the paper's text."""

import pathlib

import pytest
from absl import flags
from absl.testing import flagsaver

from drnet_tf import training_flags
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.models import list_models
from drnet_tf.models.drnet.recipe import step_values

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
STEPS = 390  # an epoch of 50,000 images in batches of 128


@pytest.fixture(scope="module", autouse=True)
def defined_flags():
    if "workdir" not in flags.FLAGS:
        training_flags.define_flags()


def read(name):
    with flagsaver.flagsaver():
        flags.FLAGS(["train", f"--flagfile={CONFIGS / name}", "--workdir=unused"])
        recipe = training_flags.read_recipe()
        assert flags.FLAGS.train_on_validation, "the paper trains on all training images"
        return flags.FLAGS.model, recipe, training_flags.read_flags(Augmentation)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.flags")), ids=lambda path: path.stem)
def test_every_config_names_a_model_and_opens_with_its_command(path):
    model, _, _ = read(path.name)
    assert model in list_models()
    assert f"--flagfile=configs/{path.name}" in path.read_text().split("--model")[0]


@pytest.mark.parametrize("name", ["s.cifar10", "m.cifar10", "l.cifar10", "s.cifar100"])
def test_cifar_recipe_is_the_papers(name):
    size, dataset = name.split(".")
    model, recipe, augmentation = read(f"{dataset}_drnet_{size}.flags")
    assert model == f"drnet_{name}"
    assert recipe.epochs == 1200
    assert (recipe.batch_size, recipe.momentum, recipe.nesterov) == (128, 0.9, False)
    assert (recipe.weight_decay, recipe.auxiliary_weight) == (3e-4, 0.4)
    first, second, last = (step_values(recipe, e * STEPS, STEPS) for e in (0, 600, 1199))
    assert (
        first.learning_rate,
        first.scalars["temperature"],
        first.scalars["resource_weight"],
    ) == (0.025, 3, 0)
    assert (
        second.learning_rate,
        second.scalars["temperature"],
        second.scalars["resource_weight"],
    ) == (0.005, 1, 0.1)
    assert (last.learning_rate, last.scalars["temperature"]) == pytest.approx((0.0, 0.5), abs=1e-3)
    assert (last.scalars["drop_connection"], last.scalars["drop_branch"]) == pytest.approx(
        (0.1, 0.7), abs=1e-3
    )
    assert augmentation.autoaugment == "cifar10"
    assert (augmentation.cutout, augmentation.crop_padding, augmentation.flip) == (16, 4, True)


def test_fast_recipe_has_its_schedules_at_any_length():
    model, recipe, augmentation = read("cifar10_drnet_s_fast.flags")
    assert model == "drnet_s.cifar10"
    assert (recipe.stage1_epochs, recipe.stage2_epochs) == pytest.approx((24, 6))
    assert (recipe.batch_size, recipe.momentum, recipe.nesterov) == (128, 0.9, True)
    assert (recipe.label_smoothing, recipe.weight_average) == (0.1, 0.02)
    assert recipe.norm_moments_threshold == 0.8
    for epochs in (30, 200):
        run = recipe.of_epochs(epochs)
        first, warm, half, second, end = (
            step_values(run, round(share * epochs * STEPS), STEPS)
            for share in (0, 0.08, 0.44, 0.8, 1)
        )
        # Up over a tenth of the stage and down to nothing: half of the peak half-way down.
        rates = [v.learning_rate for v in (first, warm, half, end)]
        assert rates == pytest.approx([0, 0.1, 0.05, 0], abs=1e-3)
        assert [v.stage for v in (first, warm, half, second, end)] == [1, 1, 1, 2, 2]
        assert step_values(run, round(0.82 * epochs * STEPS), STEPS).learning_rate == (
            pytest.approx(0.02, rel=0.01)
        )
        assert (half.scalars["temperature"], second.scalars["temperature"]) == (3, 1)
        assert end.scalars["temperature"] == pytest.approx(0.5)
        assert (half.scalars["resource_weight"], second.scalars["resource_weight"]) == (0, 0.1)
        assert (end.scalars["drop_connection"], end.scalars["drop_branch"]) == pytest.approx(
            (0, 0.1)
        )
    assert augmentation.autoaugment is None
    assert (augmentation.cutout, augmentation.crop_padding, augmentation.flip) == (0, 4, True)


def test_flags_of_their_own_win_over_the_recipe_and_epochs_scale_what_they_say():
    with flagsaver.flagsaver():
        flags.FLAGS(["train", "--recipe=fast", "--learning_rate1=0.3", "--drop_branch=0.7"])
        recipe = training_flags.read_recipe()
    assert (recipe.learning_rate1, recipe.learning_rate2, recipe.drop_branch) == (0.3, 0.02, 0.7)
    with flagsaver.flagsaver():
        flags.FLAGS(["train", "--stage1_epochs=3", "--stage2_epochs=1", "--epochs=30"])
        recipe = training_flags.read_recipe()
    assert (recipe.stage1_epochs, recipe.stage2_epochs) == (22.5, 7.5)
    for name in ("norm_moments_threshold", "recalibrate_threshold"):  # now, and in earlier versions
        with flagsaver.flagsaver():
            flags.FLAGS(["train", "--recipe=fast", f"--{name}=none"])
            assert training_flags.read_recipe().norm_moments_threshold is None
        with flagsaver.flagsaver():
            flags.FLAGS(["train", "--recipe=fast", f"--{name}=0.3"])
            assert training_flags.read_recipe().norm_moments_threshold == 0.3


def test_imagenet_recipe_is_the_papers():
    model, recipe, augmentation = read("imagenet_drnet_l.flags")
    assert model == "drnet_l.imagenet"
    assert recipe.epochs == 250
    assert (recipe.momentum, recipe.nesterov, recipe.weight_decay) == (0.9, True, 3e-5)
    assert recipe.label_smoothing == 0.1
    rates = [step_values(recipe, e * STEPS, STEPS).learning_rate for e in (0, 1, 100, 125, 249)]
    for rate, epoch in zip(rates, (0, 1, 100, 125, 249), strict=True):
        assert rate == pytest.approx(rates[0] * 0.97**epoch, rel=0.02)
    begin, end = (step_values(recipe, e * STEPS, STEPS) for e in (125, 250))
    assert (begin.scalars["temperature"], end.scalars["temperature"]) == pytest.approx((5, 0.8))
    assert begin.scalars["resource_weight"] == 0.01
    assert augmentation.autoaugment == "imagenet" and augmentation.random_resized_crop
