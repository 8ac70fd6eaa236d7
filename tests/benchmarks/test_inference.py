"""MobileNetV2 as a peer, and the table that an export shares with it."""

import dataclasses

import pytest

from benchmarks import inference
from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.workdir import Run, load_trained
from export.convert.conversion import convert
from tests.export.routed_model import CLASS_NAMES, CONFIG, images_of, model_with_varied_routing


@pytest.fixture(scope="module")
def export_of_32(tmp_path_factory):
    config = dataclasses.replace(CONFIG, image_size=32, cells=1, nodes=1, node_inputs=())
    workdir = tmp_path_factory.mktemp("workdir")
    Run("drnet_xs.digits", config, "digits", fit=Fit.WHOLE).save(str(workdir))
    Checkpoint.of(1, model_with_varied_routing(config)).write(str(workdir))
    trained = load_trained(str(workdir))
    return trained, convert(trained, CLASS_NAMES, workdir / "export")


def test_every_graph_is_timed_beside_the_peer(export_of_32, monkeypatch):
    # Less to convert.
    monkeypatch.setattr(inference, "PEER_MODEL", "mobilenet_v2_w035.cifar10")
    trained, export = export_of_32
    images = images_of(trained.model.config, 2)
    rows = inference.compare(trained, export, images, [0.0, 1.0], seconds=0.0)
    names = [row["name"] for row in rows]
    assert names == [inference.PEER, inference.ALL, "routed, T = 0", "routed, T = 1"]
    assert rows[0]["ratio"] == 1
    for row in rows:
        assert 0 < row["median_ms"] <= row["p90_ms"]
        assert row["ratio"] == row["median_ms"] / rows[0]["median_ms"]
    assert rows[2]["macs"] < rows[3]["macs"] == rows[1]["macs"]
    assert inference.table(rows, 2).row_count == 4


def test_images_of_another_size_are_refused(export_of_32, monkeypatch):
    trained, export = export_of_32
    monkeypatch.setattr(inference, "IMAGE_SIZE", 224)
    with pytest.raises(UserError, match="224 x 224"):
        inference.compare(trained, export, images_of(trained.model.config, 1), [1.0], 0.0)
