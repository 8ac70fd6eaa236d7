"""Recalibration: its closed form, and the statistics of its noise."""

import keras
import numpy as np
import pytest

from drnet_tf.layers import Recalibration
from drnet_tf.layers.gumbel_softmax import gumbel_noise
from tests.layers import numpy_reference

LOGITS = np.random.default_rng(0).normal(0, 2, (6, 8, 5)).astype("float32")


@pytest.mark.parametrize("kind", ["gumbel_softmax", "softmax"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_evaluation_is_the_softmax_at_that_temperature(kind, temperature):
    actual = np.asarray(Recalibration(kind)(LOGITS, temperature=temperature, training=False))
    expected = numpy_reference.softmax(LOGITS.astype("float64") / temperature)
    np.testing.assert_allclose(actual, expected, rtol=2e-5)


def test_softmax_kind_draws_no_noise_in_training():
    layer = Recalibration("softmax")
    evaluated = np.asarray(layer(LOGITS, temperature=2.0, training=False))
    trained = np.asarray(layer(LOGITS, temperature=2.0, training=True))
    np.testing.assert_array_equal(trained, evaluated)


@pytest.mark.parametrize("training", [False, True])
def test_none_kind_weighs_all_branches_the_same(training):
    actual = np.asarray(Recalibration("none")(LOGITS, temperature=2.0, training=training))
    np.testing.assert_allclose(actual, np.full(LOGITS.shape, 0.2), rtol=1e-6)


def test_training_draws_new_noise_at_each_call_and_sums_to_one():
    layer = Recalibration(seed=1)
    first = np.asarray(layer(LOGITS, temperature=1.0, training=True))
    second = np.asarray(layer(LOGITS, temperature=1.0, training=True))
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(first.sum(axis=-1), 1, atol=1e-5)


def test_same_seed_draws_the_same_noise():
    outputs = [
        np.asarray(Recalibration(seed=seed)(LOGITS, temperature=1.0, training=True))
        for seed in (4, 4, 5)
    ]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 0.1


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_highest_branch_is_drawn_with_the_softmax_of_the_logits(temperature):
    """The Gumbel-max theorem; it holds at any temperature."""
    draws, row = 100_000, np.array([1.0, 0.0, -1.0, 2.0, 0.5], "float32")
    layer = Recalibration(seed=2)
    output = layer(np.tile(row, (draws, 1, 1)), temperature=temperature, training=True)
    counts = np.bincount(np.argmax(np.asarray(output)[:, 0], axis=-1), minlength=5)
    probability = numpy_reference.softmax(row.astype("float64"))
    error = np.sqrt(probability * (1 - probability) / draws)
    assert (np.abs(counts / draws - probability) < 5 * error).all()


def test_noise_has_the_moments_of_a_gumbel_distribution():
    draws = 200_000
    noise = np.asarray(gumbel_noise((draws,), keras.random.SeedGenerator(3)), "float64")
    assert np.isfinite(noise).all()
    deviation = np.pi / np.sqrt(6)
    assert abs(noise.mean() - np.euler_gamma) < 5 * deviation / np.sqrt(draws)
    assert noise.std() == pytest.approx(deviation, rel=0.02)


def test_unknown_kind_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="gumbel_softmax, softmax, none, not 'gumbel'"):
        Recalibration("gumbel")
