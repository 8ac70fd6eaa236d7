"""The recipe at given steps, against the paper's text (Sec. 4.1)."""

import math

import pytest

from drnet_tf.errors import UserError
from drnet_tf.models.drnet.recipe import Recipe, step_values
from drnet_tf.models.schedules import total_steps

PAPER = Recipe(stage1_epochs=600, stage2_epochs=600)
STEPS = 390  # 50,000 images in batches of 128


def at(epoch, recipe=PAPER):
    return step_values(recipe, round(epoch * STEPS), STEPS)


def test_stage_1_has_a_fixed_temperature_of_3_and_no_resource_term():
    for epoch in (0, 1, 300, 599.9):
        assert at(epoch).scalars["temperature"] == 3.0
        assert at(epoch).scalars["resource_weight"] == 0.0
        assert at(epoch).stage == 1


def test_stage_2_falls_from_1_to_one_half_with_the_resource_term_on():
    assert at(600).stage == 2
    assert at(600).scalars["temperature"] == 1.0
    assert at(600).scalars["resource_weight"] == 0.1
    assert at(1199.99).scalars["temperature"] == pytest.approx(0.5, rel=1e-4)


def test_temperature_falls_by_the_papers_factor_an_epoch():
    recipe = Recipe(stage1_epochs=0, stage2_epochs=math.log(2) / 0.0006)
    for epoch in (1, 100, 1000):
        assert at(epoch, recipe).scalars["temperature"] == pytest.approx(
            math.exp(-0.0006 * epoch), rel=1e-3
        )


@pytest.mark.parametrize(("begin", "peak"), [(0, 0.025), (600, 0.005)])
def test_learning_rate_is_a_cosine_to_zero_in_each_stage(begin, peak):
    assert at(begin).learning_rate == pytest.approx(peak)
    assert at(begin + 150).learning_rate == pytest.approx(
        peak * (1 + math.cos(math.pi / 4)) / 2, rel=1e-3
    )
    assert at(begin + 300).learning_rate == pytest.approx(peak / 2)
    assert at(begin + 599.99).learning_rate < peak * 1e-6


def test_drop_rates_rise_linearly_to_their_values_over_the_run():
    for epoch in (0, 300, 600, 1199):
        assert at(epoch).scalars["drop_connection"] == pytest.approx(0.1 * epoch / 1200)
        assert at(epoch).scalars["drop_branch"] == pytest.approx(0.7 * epoch / 1200)


def test_a_short_run_goes_through_the_same_values():
    short = Recipe(stage1_epochs=15, stage2_epochs=15)
    for fraction in (0, 0.1, 0.45, 0.55, 0.9):
        long_values, short_values = at(1200 * fraction), at(30 * fraction, short)
        assert short_values.scalars["temperature"] == pytest.approx(
            long_values.scalars["temperature"], rel=1e-3
        )
        assert short_values.learning_rate == pytest.approx(long_values.learning_rate, rel=1e-3)
        assert short_values.scalars["drop_branch"] == pytest.approx(
            long_values.scalars["drop_branch"], rel=1e-3
        )


def test_imagenet_learning_rate_falls_by_3_percent_an_epoch():
    recipe = Recipe(
        stage1_epochs=250, stage2_epochs=0, learning_rate1=0.1, learning_rate_schedule="exponential"
    )
    assert at(0, recipe).learning_rate == 0.1
    assert at(10, recipe).learning_rate == pytest.approx(0.1 * 0.97**10)


def test_triangular_learning_rate_rises_over_the_warm_up_and_falls_to_zero():
    recipe = Recipe(
        stage1_epochs=10, stage2_epochs=0, learning_rate_schedule="triangular", warmup=0.2
    )
    assert 0 < at(0, recipe).learning_rate < 1e-4
    assert at(1, recipe).learning_rate == pytest.approx(0.0125, rel=1e-2)
    assert at(2, recipe).learning_rate == pytest.approx(0.025, rel=1e-2)
    assert at(6, recipe).learning_rate == pytest.approx(0.0125, rel=1e-2)


def test_stages_may_have_fractions_of_an_epoch_and_one_may_be_missing():
    assert total_steps(Recipe(stage1_epochs=0.5, stage2_epochs=0), 10) == 5
    only_second = Recipe(stage1_epochs=0, stage2_epochs=1)
    assert step_values(only_second, 0, 10).stage == 2


@pytest.mark.parametrize(
    "values",
    [
        {"stage1_epochs": -1},
        {"stage1_epochs": 0, "stage2_epochs": 0},
        {"learning_rate1": 0},
        {"learning_rate1": float("nan")},
        {"batch_size": 0},
        {"momentum": 1.0},
        {"temperature2_end": 0},
        {"temperature2_start": 0.1},
        {"drop_branch": 1.5},
        {"learning_rate_schedule": "steps"},
        {"weight_average": 1.5},
        {"norm_moments_threshold": float("nan")},
        {"norm_moments_images": 0},
    ],
)
def test_values_without_meaning_are_refused_with_what_would_be_right(values):
    with pytest.raises(UserError, match=" must be "):
        Recipe(**values)


@pytest.mark.parametrize("epochs", [0, -1, float("inf")])
def test_a_length_without_meaning_is_refused(epochs):
    with pytest.raises(UserError, match="epochs must be more than 0"):
        PAPER.of_epochs(epochs)


def test_a_triangle_never_exceeds_its_peak():
    recipe = Recipe(
        stage1_epochs=3, stage2_epochs=2, learning_rate_schedule="triangular", warmup=0.1
    )
    rates = [step_values(recipe, step, 3).learning_rate for step in range(15)]
    assert max(rates[:9]) <= recipe.learning_rate1 and max(rates[9:]) <= recipe.learning_rate2


def test_a_run_without_stage_2_has_no_step_of_it_however_short_it_is():
    recipe = Recipe(stage1_epochs=0.3, stage2_epochs=0)
    assert step_values(recipe, 0, 1).stage == 1
