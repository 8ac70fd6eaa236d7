"""Timing of an export."""

import pytest

from drnet_tf.errors import UserError
from export.benchmark.__main__ import result_table
from export.benchmark.latency import benchmark


def test_reports_every_graph_at_every_threshold(exported, images):
    model = exported.trained.model
    steps = []
    results = benchmark(
        exported.trained,
        exported.export,
        images,
        (0.4, 1.0),
        seconds=0.05,
        static_images=1,
        progress=lambda done, total, text: steps.append((done, total, text)),
    )
    assert [result.threshold for result in results] == [0.4, 1.0]
    assert model.cost.fixed.macs / model.cost.total.macs < results[0].macs_ratio < 1
    assert results[1].macs_ratio == 1
    for result in results:
        assert result.images == len(images)
        assert 0 < result.routed_median_ms <= result.routed_p90_ms <= result.routed_p99_ms
        assert 0 < result.dense_median_ms <= result.dense_p90_ms <= result.dense_p99_ms
        assert result.ratio == pytest.approx(result.routed_median_ms / result.dense_median_ms)
        assert result.static_images == 1
        assert result.static_ratio > 0 and result.static_median_ms > 0
    assert steps[-1][0] == steps[-1][1]
    assert result_table(results).row_count == 2


def test_images_of_another_size_are_refused(exported, images):
    with pytest.raises(UserError, match=r"must be \[images, 16, 16, 3\]"):
        benchmark(exported.trained, exported.export, images[0], (0.5,))
