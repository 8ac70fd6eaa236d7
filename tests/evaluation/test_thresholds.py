import numpy as np
import pytest

from drnet_tf.errors import UserError
from drnet_tf.evaluation.thresholds import Distribution, evaluate, padded
from drnet_tf.models import build_model


@pytest.fixture(scope="module")
def model():
    model = build_model("drnet_xs.digits", image_size=8, cells=1, channels=4, nodes=2)
    # Routers that see differences between the images: routing then differs too.
    model.cells[0].router.dense.kernel.assign(
        np.random.default_rng(0).normal(size=model.cells[0].router.dense.kernel.shape) * 8
    )
    model.temperature.assign(0.5)
    return model


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(1)
    return generator.uniform(0, 255, (7, 8, 8, 3)).astype("float32"), np.arange(7) % 10


def in_batches(images, size):
    pixels, labels = images
    return lambda: [
        (pixels[i : i + size], labels[i : i + size]) for i in range(0, len(pixels), size)
    ]


def test_agrees_with_each_image_on_its_own(model, images):
    (result,) = evaluate(model, in_batches(images, 3), [0.5])
    macs, correct = [], []
    for pixels, label in zip(*images, strict=True):
        logits, routing = model(pixels[None], threshold=0.5)
        selected = np.asarray(routing.selected)[0]
        macs.append((selected * model.cost.unit_macs).sum() + model.cost.fixed.macs)
        correct.append(np.asarray(logits)[0].argmax() == label)
    assert len(set(macs)) > 1, "the example must route its images differently"
    assert result.images == 7
    assert result.accuracy == pytest.approx(np.mean(correct))
    assert result.macs.mean == pytest.approx(np.mean(macs))
    assert (result.macs.min, result.macs.max) == (min(macs), max(macs))


def test_the_batch_size_does_not_matter(model, images):
    (one,) = evaluate(model, in_batches(images, 1), [0.4])
    (all_at_once,) = evaluate(model, in_batches(images, 7), [0.4])
    assert one.macs == all_at_once.macs
    np.testing.assert_array_equal(one.selected, all_at_once.selected)


def test_threshold_1_costs_the_whole_network(model, images):
    (result,) = evaluate(model, in_batches(images, 7), [1.0])
    assert result.macs.min == result.macs.max == model.cost.total.macs
    assert result.params.mean == model.cost.total.params


def test_two_evaluations_are_equal_to_the_bit(model, images):
    first, second = (evaluate(model, in_batches(images, 4), [0.3, 0.6]) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.to_dict() == b.to_dict()


def test_no_image_is_an_error(model):
    with pytest.raises(UserError, match="no image"):
        evaluate(model, lambda: [], [0.5])


def test_distribution_of_known_values():
    values = Distribution.of(np.arange(1, 101))
    assert (values.mean, values.min, values.max) == (50.5, 1, 100)
    assert values.p50 in (50, 51) and values.p95 in (95, 96)


def test_padding_adds_zeros_at_the_end_only():
    result = padded(np.ones((2, 1, 1, 3)), 5)
    assert result.shape == (5, 1, 1, 3)
    assert result[:2].all() and not result[2:].any()
