"""The average of the weights against NumPy."""

import dataclasses

import keras
import numpy as np
import pytest

from drnet_tf.training.averaging import WeightAverage


@dataclasses.dataclass
class Steps:
    """What `WeightAverage` uses of a `TrainingStep`: two weights that a test sets."""

    weight_variables: list
    now: float = 0.0

    def weights(self):
        return [keras.ops.full((2,), self.now), keras.ops.full((), 2 * self.now)]


@pytest.fixture
def steps():
    variables = [keras.Variable(np.zeros(shape, "float32"), name=n) for n, shape in NAMES.items()]
    return Steps(variables)


NAMES = {"first": (2,), "second": ()}


def run(average, values, first=1):
    for step, value in enumerate(values, first):
        average.step_function.now = value
        average.update(step)


def test_before_a_time_constant_has_passed_it_is_the_plain_mean(steps):
    values = np.random.default_rng(0).normal(size=7)
    average = WeightAverage(steps, share=0.5, total=14)
    assert (average.interval, average.values()) == (1, {})
    run(average, values)
    np.testing.assert_allclose(average.values()["first"], [values.mean()] * 2, rtol=1e-5)
    np.testing.assert_allclose(average.values()["second"], 2 * values.mean(), rtol=1e-5)


def test_later_the_weight_of_a_step_falls_by_e_in_a_time_constant(steps):
    # All weights are 0 but in the last time constant, 20 of 2000 steps, where they are 1.
    average = WeightAverage(steps, share=0.01, total=2000)
    run(average, [0.0] * 1980 + [1.0] * 20)
    np.testing.assert_allclose(average.values()["first"], [1 - np.exp(-1)] * 2, rtol=1e-5)


def test_a_long_run_updates_now_and_then_at_the_same_time_constant(steps):
    average = WeightAverage(steps, share=0.02, total=80_000)
    assert average.interval == 16
    run(average, [1.0] * 1600, first=78_401)
    last_only = WeightAverage(steps, share=0.02, total=80_000)
    last_only.load({name: np.zeros(shape, "float32") for name, shape in NAMES.items()})
    run(last_only, [1.0] * 1600, first=78_401)
    np.testing.assert_allclose(average.values()["first"], [1.0] * 2, rtol=1e-5)
    np.testing.assert_allclose(last_only.values()["first"], [1 - np.exp(-1)] * 2, rtol=1e-4)


def test_goes_on_from_a_checkpoint_to_the_same_bits(steps):
    values = np.random.default_rng(1).normal(size=50)
    undisturbed, stopped, resumed = (WeightAverage(steps, 0.1, 50) for _ in range(3))
    run(undisturbed, values)
    run(stopped, values[:23])
    resumed.load(stopped.values())
    run(resumed, values[23:], first=24)
    for name, value in undisturbed.values().items():
        np.testing.assert_array_equal(resumed.values()[name], value)
