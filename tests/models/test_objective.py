"""Eq. 8 against NumPy."""

import numpy as np
import pytest

from drnet_tf.models.drnet.objective import loss_and_metrics
from drnet_tf.models.family import Routing
from drnet_tf.models.objective import Resource, cross_entropy

BATCH, CLASSES = 6, 4


@pytest.fixture
def example():
    generator = np.random.default_rng(0)
    weights = generator.random((BATCH, 2, 3, 5)).astype("float32")
    weights /= weights.sum(-1, keepdims=True)
    logits = generator.normal(size=(BATCH, CLASSES)).astype("float32")
    labels = np.array([0, 1, 2, 3, 0, 1], "int32")
    logits[:3, labels[:3]] += 5 * np.eye(3, dtype="float32")  # three images are surely right
    own = {
        "recalibrated": weights,
        "auxiliary_logits": generator.normal(size=(BATCH, CLASSES)).astype("float32"),
        "expected_macs": np.ones(BATCH, "float32"),
    }
    routing = Routing(selected=None, scores=None, macs=None, own=own)
    resource = Resource(generator.random((2, 3, 5)) * 10, fixed=7.0)
    return logits, routing, labels, resource


def numpy_cross_entropy(logits, labels):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(-1, keepdims=True)
    return -np.log(probabilities[np.arange(len(labels)), labels])


def test_loss_is_cross_entropy_plus_auxiliary_plus_log_resource_of_correct_images(example):
    logits, routing, labels, resource = example
    loss, parts = loss_and_metrics(logits, routing, labels, resource, 0.3, auxiliary_weight=0.4)
    correct = logits.argmax(-1) == labels
    assert 0 < correct.sum() < BATCH, "the example must have both kinds"
    expected = np.einsum("blcn,lcn->b", routing.own["recalibrated"], resource.units) + 7.0
    by_hand = (
        numpy_cross_entropy(logits, labels).mean()
        + 0.4 * numpy_cross_entropy(routing.own["auxiliary_logits"], labels).mean()
        + 0.3 * (correct * np.log(expected)).mean()
    )
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)
    assert float(parts["accuracy"]) == pytest.approx(correct.mean())
    assert float(parts["expected_resource"]) == pytest.approx(expected.mean())


def test_resource_weight_zero_leaves_the_resource_out(example):
    _, parts = loss_and_metrics(*example, 0.0)
    assert float(parts["resource"]) == 0.0


def test_label_smoothing_mixes_in_the_uniform_distribution(example):
    logits, _, labels, _ = example
    uniform = np.mean(
        [numpy_cross_entropy(logits, np.full(BATCH, c)) for c in range(CLASSES)], axis=0
    )
    expected = 0.9 * numpy_cross_entropy(logits, labels) + 0.1 * uniform
    np.testing.assert_allclose(np.asarray(cross_entropy(logits, labels, 0.1)), expected, rtol=1e-5)
