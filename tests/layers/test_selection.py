"""Selection by threshold against a plain implementation that sorts."""

import keras
import numpy as np
import pytest

from drnet_tf.layers import select
from tests.layers import numpy_reference

INFINITY, NAN = float("inf"), float("nan")
THRESHOLDS = (-INFINITY, -1.0, 0.0, 0.25, 0.5, 0.625, 0.984375, 1.0, 1.5, INFINITY, NAN)


def _exact_rows(count, branches, seed=0):
    """Rows of multiples of 1/64 that sum to 1: every partial sum is exact, ties are frequent."""
    generator = np.random.default_rng(seed)
    cuts = np.sort(generator.integers(0, 65, (count, branches - 1)), axis=1)
    edges = np.concatenate([np.zeros((count, 1)), cuts, np.full((count, 1), 64)], axis=1)
    return (np.diff(edges, axis=1) / 64).astype("float32")


def _softmax_rows(shape, seed=0, scale=2.0):
    logits = np.random.default_rng(seed).normal(0, scale, shape)
    return numpy_reference.softmax(logits).astype("float32")


def _select(weights, threshold):
    selected, kept = select(keras.ops.convert_to_tensor(weights), threshold)
    return np.asarray(selected), np.asarray(kept)


@pytest.mark.parametrize("branches", [1, 2, 5])
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_selects_what_sorting_selects(branches, threshold):
    weights = _exact_rows(2000, branches)
    selected, kept = _select(weights, threshold)
    expected_selected, expected_kept = numpy_reference.select(weights, threshold)
    np.testing.assert_array_equal(selected, expected_selected)
    np.testing.assert_allclose(kept, expected_kept, rtol=1e-6)


def test_rows_under_test_have_ties_and_zeros():
    weights = _exact_rows(2000, 5)
    assert (np.diff(np.sort(weights, axis=1), axis=1) == 0).any(axis=1).sum() > 200
    assert (weights == 0).any(axis=1).sum() > 100


def test_thresholds_of_each_image_select_what_sorting_selects():
    weights = _exact_rows(4 * 300, 5).reshape(300, 4, 5)
    threshold = np.random.default_rng(5).integers(-8, 73, (300, 1, 1)).astype("float32") / 64
    selected, kept = _select(weights, threshold)
    expected_selected, expected_kept = numpy_reference.select(weights, threshold)
    np.testing.assert_array_equal(selected, expected_selected)
    np.testing.assert_allclose(kept, expected_kept, rtol=1e-6)


def test_softmax_rows_select_what_sorting_selects_away_from_the_limit():
    weights = _softmax_rows((5000, 5))
    threshold = np.random.default_rng(6).random((5000, 1)).astype("float32")
    before = np.cumsum(-np.sort(-weights.astype("float64"), axis=1), axis=1)
    clear = (np.abs(before - threshold) > 1e-6).all(axis=1)
    assert clear.mean() > 0.99
    selected, _ = _select(weights, threshold)
    expected, _ = numpy_reference.select(weights[clear], threshold[clear])
    np.testing.assert_array_equal(selected[clear], expected)


@pytest.mark.parametrize("threshold", [0.0, -0.5, -INFINITY, NAN])
def test_selects_only_the_top_one(threshold):
    weights = _softmax_rows((500, 5))
    selected, kept = _select(weights, threshold)
    np.testing.assert_array_equal(np.argmax(weights, axis=1), np.argmax(selected, axis=1))
    assert (selected.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(kept, selected)


@pytest.mark.parametrize("threshold", [1.0, 1.0 + 1e-6, 2.0, INFINITY])
def test_selects_all_even_where_rounding_takes_the_sum_above_one(threshold):
    weights = _softmax_rows((2000, 5))
    weights[:1000] *= 1 + 4e-7
    weights[1000:, :2] = 0.5
    weights[1000:, 2:] = 1e-7
    assert (weights.sum(axis=1) > 1).sum() > 1000
    selected, _ = _select(weights, threshold)
    assert selected.all()


def test_ties_go_to_the_lower_index():
    selected, _ = _select(np.full((1, 5), 0.2, "float32"), 0.5)
    assert selected.tolist() == [[True, True, True, False, False]]
    selected, _ = _select(np.array([[0.25, 0.375, 0.375]], "float32"), 0.0)
    assert selected.tolist() == [[False, True, False]]


def test_branch_at_the_limit_is_selected():
    weights = np.array([[0.5, 0.25, 0.25]], "float32")
    assert _select(weights, 0.5)[0].tolist() == [[True, True, False]]
    assert _select(weights, np.nextafter(np.float32(0.5), np.float32(0)))[0].sum() == 1
    assert _select(weights, 0.75)[0].all()


def test_selected_set_grows_with_the_threshold():
    weights = _softmax_rows((1000, 5), seed=2)
    previous = np.zeros(weights.shape, bool)
    sizes = []
    for threshold in np.linspace(-0.1, 1.1, 61):
        selected, _ = _select(weights, float(threshold))
        assert not (previous & ~selected).any()
        previous = selected
        sizes.append(selected.mean())
    assert sizes[0] == 0.2 and sizes[-1] == 1.0 and len(set(sizes)) > 30


def test_kept_weights_keep_their_proportions_and_sum_to_one():
    weights = _softmax_rows((1000, 5), seed=3)
    selected, kept = _select(weights, 0.6)
    np.testing.assert_allclose(kept.sum(axis=1), 1, atol=1e-6)
    assert (kept[~selected] == 0).all()
    share = np.where(selected, weights, 0).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(kept * share, np.where(selected, weights, 0), rtol=1e-5, atol=1e-8)


def test_gradient_reaches_only_the_selected_weights():
    tf = pytest.importorskip("tensorflow")
    weights = tf.constant([[0.5, 0.3, 0.2]])
    with tf.GradientTape() as tape:
        tape.watch(weights)
        _, kept = select(weights, 0.5)
        first = kept[0, 0]
    # first = a / (a + b)
    gradient = tape.gradient(first, weights).numpy()
    np.testing.assert_allclose(gradient, [[0.3 / 0.64, -0.5 / 0.64, 0]], rtol=1e-5)
