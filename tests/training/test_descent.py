"""What is done to gradients, against NumPy."""

import numpy as np
import pytest

from drnet_tf.models.schedules import Optimization
from drnet_tf.training.descent import clip_and_decay

SHAPES = ((3, 4), (5,), ())


@pytest.fixture
def gradients_and_weights():
    generator = np.random.default_rng(0)
    return [[generator.normal(size=s).astype("float32") for s in SHAPES] for _ in range(2)]


def of_length(gradients, norm):
    length = np.linalg.norm(np.concatenate([np.ravel(g) for g in gradients]).astype("float64"))
    return [(norm / length * g).astype("float32") for g in gradients]


@pytest.mark.parametrize(
    ("norm", "clip_norm", "left"),
    [(10.0, 2.5, 2.5), (2.0, 2.5, 2.0), (10.0, 0.0, 10.0)],  # too long, short enough, not clipped
)
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_gradients_are_clipped_together_and_then_decayed(
    gradients_and_weights, norm, clip_norm, left, weight_decay
):
    gradients, weights = gradients_and_weights
    recipe = Optimization(clip_norm=clip_norm, weight_decay=weight_decay)
    results = clip_and_decay(of_length(gradients, norm), weights, recipe)
    expected = of_length(gradients, left)
    for result, gradient, weight in zip(results, expected, weights, strict=True):
        by_hand = gradient.astype("float64") + weight_decay * weight
        np.testing.assert_allclose(np.asarray(result), by_hand, rtol=1e-5, atol=1e-6)


def test_gradients_of_zero_stay_finite(gradients_and_weights):
    _, weights = gradients_and_weights
    zeros = [np.zeros(shape, "float32") for shape in SHAPES]
    results = clip_and_decay(zeros, weights, Optimization(clip_norm=1.0, weight_decay=0.5))
    for result, weight in zip(results, weights, strict=True):
        np.testing.assert_allclose(np.asarray(result), 0.5 * weight, rtol=1e-6)
