"""Drop-connection and drop-branch: what never happens, and what happens how often."""

import numpy as np
import pytest

from drnet_tf.layers.dropping import DropRouting
from tests.layers import numpy_reference

BRANCHES = 5


def _weights(images, connections=8, seed=0):
    logits = np.random.default_rng(seed).normal(0, 1, (images, connections, BRANCHES))
    return numpy_reference.softmax(logits).astype("float32")


def _drop(weights, connection_rate, branch_rate, seed=1):
    layer = DropRouting(seed=seed)
    return np.asarray(layer(weights, connection_rate=connection_rate, branch_rate=branch_rate))


def test_rates_of_zero_change_nothing():
    weights = _weights(100)
    np.testing.assert_allclose(_drop(weights, 0.0, 0.0), weights, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_connections_drop_as_a_whole_at_their_rate_and_the_others_are_scaled(rate):
    weights = _weights(4000)
    dropped = _drop(weights, rate, 0.0)
    gone = (dropped == 0).all(axis=-1)
    np.testing.assert_allclose(dropped[~gone], weights[~gone] / (1 - rate), rtol=1e-5)
    error = np.sqrt(rate * (1 - rate) / gone.size)
    assert abs(gone.mean() - rate) < 5 * error


def test_connections_drop_for_each_image_and_connection_on_its_own():
    gone = (_drop(_weights(4000, connections=2), 0.5, 0.0) == 0).all(axis=-1)
    both = (gone[:, 0] & gone[:, 1]).mean()
    assert abs(both - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)


def test_dropped_connections_keep_the_expected_weights():
    row = _weights(1)
    dropped = _drop(np.repeat(row, 40_000, axis=0), 0.3, 0.0)
    # The factor is 0 or 1 / 0.7, of variance 0.3 / 0.7.
    error = row[0] * np.sqrt(0.3 / 0.7 / 40_000)
    assert (np.abs(dropped.mean(axis=0) - row[0]) < 5 * error).all()


@pytest.mark.parametrize("rate", [0.3, 0.7, 1.0])
def test_branches_survive_as_often_as_the_rate_says_and_never_none(rate):
    alive = _drop(_weights(4000), 0.0, rate) > 0
    assert alive.any(axis=-1).all()
    # Above the rate, or below it and the highest of all.
    probability = (1 - rate) + rate**BRANCHES / BRANCHES
    error = np.sqrt(probability * (1 - probability) / alive.shape[0] / alive.shape[1])
    assert (np.abs(alive.mean(axis=(0, 1)) - probability) < 5 * error).all()


def test_rate_of_one_leaves_exactly_one_branch_with_all_the_weight():
    dropped = _drop(_weights(500), 0.0, 1.0)
    assert ((dropped > 0).sum(axis=-1) == 1).all()
    np.testing.assert_allclose(dropped.sum(axis=-1), 1, rtol=1e-6)


def test_surviving_branches_keep_their_proportions_and_sum_to_one():
    weights = _weights(500)
    dropped = _drop(weights, 0.0, 0.5)
    alive = dropped > 0
    assert 0.3 < alive.mean() < 0.7
    kept = np.where(alive, weights, 0)
    np.testing.assert_allclose(dropped, kept / kept.sum(axis=-1, keepdims=True), rtol=1e-5)


def test_each_call_draws_anew():
    layer, weights = DropRouting(seed=3), _weights(50)
    first, second = (
        np.asarray(layer(weights, connection_rate=0.5, branch_rate=0.5)) for _ in range(2)
    )
    assert (first != second).mean() > 0.2
