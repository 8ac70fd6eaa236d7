"""Batches that are dispatched to branches."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import batched_dispatch
from drnet_tf.runs.workdir import Run, Trained
from tests.export.routed_model import CONFIG, images_of, model_with_varied_routing


@pytest.fixture(scope="module")
def trained():
    run = Run("drnet_xs.digits", CONFIG, "digits")
    return Trained(model_with_varied_routing(CONFIG), run, None, 0)


def test_dispatched_batch_has_the_logits_of_the_dense_one(trained):
    functions = batched_dispatch.graphs(trained)
    images = images_of(CONFIG, 6)
    for threshold in (0.0, 0.6, 1.0):
        given = tf.constant([threshold], tf.float32)
        dense = functions["dense"](images, given)["logits"].numpy()
        dispatched = functions["dispatched"](images, given)["logits"].numpy()
        np.testing.assert_allclose(dispatched, dense, rtol=0, atol=1e-4 * np.abs(dense).max())
    moved = functions["moving"](images, given)["logits"].numpy()
    assert np.abs(moved - dense).max() > 1e-2 * np.abs(dense).max()


def test_every_threshold_and_batch_size_is_timed(trained):
    rows = batched_dispatch.compare(trained, images_of(CONFIG, 2), [0.0, 1.0], [1, 2], rounds=1)
    cases = [(row["threshold"], row["batch_size"]) for row in rows]
    assert cases == [(0.0, 1), (0.0, 2), (1.0, 1), (1.0, 2)]
    assert rows[0]["share"] < rows[2]["share"] == 1
    for row in rows:
        milliseconds = row["milliseconds"]
        assert row["gain"] == milliseconds["dense"] / milliseconds["dispatched"]
    assert batched_dispatch.table(rows).row_count == 4
