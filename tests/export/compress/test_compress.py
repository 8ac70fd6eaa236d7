"""Pruned and clustered runs: what they and their exports hold, and what is left as it was."""

import contextlib
import dataclasses
import importlib
import json
import os
import sys
import types

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.fit import Fit
from drnet_tf.errors import UserError
from drnet_tf.layers.branches import BRANCHES, LayerBranch
from drnet_tf.layers.cost import Cost
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.settings import Settings
from drnet_tf.runs.workdir import Run, load_trained
from export.compress import __main__ as command
from export.compress.compression import check_twin
from export.compress.twin_process import Compression, TwinProcess, pruning_steps
from export.graphs.drnet.folding import read_weights
from export.graphs.drnet.unfolding import write_weights
from export.graphs.graph import graph_of
from export.graphs.plan import routed
from export.tflite.converter import to_tflite
from tests import source_tree
from tests.export.routed_model import CLASS_NAMES, images_of, model_with_varied_routing, run_keras

CONFIG = DRNetConfig(image_size=8, classes=len(CLASS_NAMES), cells=2, channels=4, nodes=1)
THRESHOLD, BATCH, STEPS = 0.5, 8, 3
SPARSITY, CLUSTERS = 0.75, 5

FLAGS = {
    "method": "prune",
    "sparsity": SPARSITY,
    "clusters": CLUSTERS,
    "epochs": 1.0,
    "steps": STEPS,
    "batch_size": None,
    "learning_rate": 1e-3,
    "threshold": THRESHOLD,
    "data_dir": None,
    "json": None,
}

RUN = Run(
    "drnet_xs.digits",
    CONFIG,
    "images.npz",
    Recipe(batch_size=BATCH, label_smoothing=0.1),
    Augmentation(flip=True, crop_padding=1),
    Settings(input_pipeline="device"),
    Fit.WHOLE,
)

LEGACY = ("tf_keras", "tensorflow_model_optimization")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    arrays = {"class_names": np.array(CLASS_NAMES)}
    for split, count in (("train", 16), ("test", 12)):
        arrays[f"{split}_images"] = images_of(CONFIG, count, len(split)).astype(np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.int32) % len(CLASS_NAMES)
    np.savez(folder / "images.npz", **arrays)
    dataclasses.replace(RUN, dataset=str(folder / "images.npz")).save(str(folder))
    Checkpoint.of(7, model_with_varied_routing(CONFIG)).write(str(folder))
    return folder


@pytest.fixture(scope="module")
def process():
    with TwinProcess() as process:
        yield process


class Flags(types.SimpleNamespace):
    """Values of flags, without a command line."""

    def __getitem__(self, name):
        return types.SimpleNamespace(value=getattr(self, name))


def run_command(process, workdir, output, **values):
    """`main` with these flags, in a process that other tests use too."""
    given = Flags(**FLAGS | values, workdir=str(workdir), output=str(output))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command.flags, "FLAGS", given)
        patch.setattr(command, "TwinProcess", lambda: contextlib.nullcontext(process))
        command.main()


@pytest.fixture(scope="module")
def pruned(process, workdir):
    environment = dict(os.environ)
    run_command(process, workdir, workdir / "pruned", json=str(workdir / "pruned.json"))
    assert dict(os.environ) == environment
    return workdir / "pruned"


def weights_by_name(network) -> dict[str, list[np.ndarray]]:
    found = {}

    def read(name, part):
        found[name] = [value for value in vars(part).values() if isinstance(value, np.ndarray)]
        return part

    network.map(read)
    return found


def is_kept(name):
    return "router" in name or "depthwise" in name


@pytest.mark.parametrize(
    "changes",
    [{}, {"stem": "imagenet", "image_size": 32, "router": "none", "nodes": 2}],
    ids=["cifar", "imagenet without routers"],
)
def test_twin_gives_the_logits_of_the_keras_model_at_any_threshold(process, changes):
    config = dataclasses.replace(CONFIG, node_inputs=(), **changes)
    model = model_with_varied_routing(config)
    images = images_of(config, 6)
    thresholds = np.array([0, 0.3, 0.5, 0.7, 0.9, 1], np.float32)
    actual = process.logits(read_weights(model), images, thresholds)
    expected = model(images, threshold=thresholds)[0].numpy()
    all_branches = model(images)[0].numpy()
    scale = np.abs(expected).max()
    assert np.abs(expected - all_branches).max() > 0.01 * scale
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_weights_that_are_written_to_a_model_are_read_back_to_the_bit(stem):
    config = dataclasses.replace(CONFIG, stem=stem, image_size=32, nodes=2, node_inputs=())
    network = read_weights(model_with_varied_routing(config, seed=1))
    model = model_with_varied_routing(config, seed=2)
    write_weights(model, network)
    expected, actual = weights_by_name(network), weights_by_name(read_weights(model))
    assert expected.keys() == actual.keys()
    for name, arrays in expected.items():
        for before, after in zip(arrays, actual[name], strict=True):
            np.testing.assert_array_equal(before, after, err_msg=name)


def test_pruned_kernels_have_the_sparsity_asked_for_and_the_others_none(workdir, pruned):
    before = weights_by_name(read_weights(load_trained(str(workdir)).model))
    after = weights_by_name(read_weights(load_trained(str(pruned)).model))
    for name, (kernel, *_) in after.items():
        zeros = (kernel == 0).sum()
        if is_kept(name):
            assert zeros == 0, name
        else:
            assert abs(zeros - SPARSITY * kernel.size) <= 0.5, name
        if "router" in name:
            np.testing.assert_array_equal(kernel, before[name][0])
        else:
            assert np.abs(kernel - before[name][0]).max() > 0, name


def test_exported_file_holds_the_pruned_kernels(pruned):
    network = read_weights(load_trained(str(pruned)).model)
    root = schema.Model.GetRootAsModel(
        to_tflite(graph_of(load_trained(str(pruned)).model), routed(network.gateable)), 0
    )
    held = {
        root.Buffers(i).DataAsNumpy().tobytes()
        for i in range(root.BuffersLength())
        if root.Buffers(i).DataLength()
    }
    kernels = {
        name: arrays[0]
        for name, arrays in weights_by_name(network).items()
        if not is_kept(name) and name != "classifier"
    }
    assert len(kernels) == 1 + 2 + 3 + 16  # stem, inputs (one factorized), separable convolutions
    for name, kernel in kernels.items():
        # TFLite has the outputs first.
        assert np.ascontiguousarray(kernel.transpose(3, 0, 1, 2)).tobytes() in held, name


def test_report_has_the_run_before_and_after(workdir, pruned):
    report = json.loads((workdir / "pruned.json").read_text())
    run = Run.load(str(pruned))
    assert run.compression == report["compression"]
    assert report["compression"]["label_smoothing"] == RUN.recipe.label_smoothing
    assert run.config == CONFIG and load_trained(str(pruned)).step == 7 + STEPS
    before, after = report["before"], report["after"]
    images = np.load(workdir / "images.npz")
    for numbers, folder in ((before, workdir), (after, pruned)):
        outputs = run_keras(
            load_trained(str(folder)).model, images["test_images"].astype("float32"), THRESHOLD
        )
        right = outputs.logits.argmax(axis=1) == images["test_labels"]
        assert numbers["accuracy"] == right.mean()
        assert numbers["macs"] == pytest.approx(outputs.flops.mean())
    assert after["zipped_bytes"] < before["zipped_bytes"] < before["tflite_bytes"]
    assert {kernel["zeros"] / kernel["weights"] for kernel in report["kernels"]} == {SPARSITY}


def test_model_file_of_a_pruned_run_is_the_model_of_its_checkpoint(pruned):
    images = images_of(CONFIG, 2)
    saved = keras.models.load_model(pruned / "model.keras")
    expected = run_keras(load_trained(str(pruned)).model, images, 1.0).logits
    np.testing.assert_allclose(saved(images, threshold=1.0)[0], expected, rtol=0, atol=1e-6)


def test_clustered_kernels_have_no_more_values_than_asked_for(process, workdir):
    network = read_weights(load_trained(str(workdir)).model)
    batch = images_of(CONFIG, BATCH), np.ones(BATCH, "float32"), np.arange(BATCH) % 4
    compression = Compression("cluster", clusters=CLUSTERS, steps=2, learning_rate=1e-3)
    reports = []
    clustered = process.compress(
        network, compression, [batch] * 2, lambda step, total, text: reports.append((step, total))
    )
    assert reports == [(0, 2), (1, 2), (2, 2)]
    before = weights_by_name(network)
    for name, (kernel, *_) in weights_by_name(clustered).items():
        values = len(np.unique(kernel))
        assert values == kernel.size if is_kept(name) else values <= CLUSTERS, name
        assert "router" in name or np.abs(kernel - before[name][0]).max() > 0, name


def test_importing_the_packages_loads_no_tf_keras(pruned):
    for path in source_tree.python_files("drnet_tf", "export"):
        if not any(name.startswith("jax") for name in source_tree.imported_modules(path)):
            importlib.import_module(source_tree.module_name(path))
    assert "export.compress.twin_process" in sys.modules
    assert not [name for name in sys.modules if name.split(".")[0] in LEGACY]
    assert "TF_USE_LEGACY_KERAS" not in os.environ


def test_twin_that_answers_otherwise_ends_the_compression():
    model, images = model_with_varied_routing(CONFIG), images_of(CONFIG, 2)
    logits = run_keras(model, images, 1.0).logits
    for difference, raises in (
        (1e-6, contextlib.nullcontext()),
        (1e-2, pytest.raises(RuntimeError, match="T=1 the logits of the tf_keras twin differ")),
    ):
        process = types.SimpleNamespace(logits=lambda *_, d=difference: logits * (1 + d))
        with raises:
            check_twin(process, model, read_weights(model), images, [1.0])


def test_process_that_dies_is_reported_with_its_status():
    with TwinProcess() as process:
        process._process.kill()
        with pytest.raises(RuntimeError, match="status -9"):
            process.logits(None, np.zeros(1), np.zeros(1))


def test_loss_that_is_not_finite_ends_the_compression(process, monkeypatch):
    monkeypatch.setattr(process, "_send", lambda *message: None)
    monkeypatch.setattr(process, "_receive", lambda: ("step", float("nan")))
    with pytest.raises(UserError, match="lower learning rate"):
        process.compress(None, Compression("prune"), [])


@pytest.mark.parametrize("steps", [2, 3, 7, 100, 161, 1000, 12345])
def test_pruning_reaches_its_final_sparsity_before_the_end(steps):
    last, interval = pruning_steps(steps)
    assert 1 <= last < steps and last % interval == 0
    assert last >= 0.5 * steps or steps < 4
    assert last / interval <= 100


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sparsity": 0.0}, "sparsity must be between"),
        ({"sparsity": 1.0}, "sparsity must be between"),
        ({"method": "cluster", "clusters": 1}, "clusters must be 2"),
        ({"steps": 1}, "steps must be 2"),
        ({"learning_rate": 0.0}, "learning rate"),
        ({"threshold": float("nan")}, "--threshold"),
        ({"output": "{workdir}"}, "exists"),
        ({"workdir": "nowhere"}, "no workdir"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_work(
    workdir, tmp_path, monkeypatch, values, message
):
    monkeypatch.setattr(command, "load_trained", None)
    folders = {"workdir": workdir, "output": tmp_path / "new"} | values
    folders["output"] = str(folders["output"]).format(workdir=workdir)
    with pytest.raises(UserError, match=message):
        run_command(None, **folders)
    assert not (tmp_path / "new").exists()


def test_branch_of_ones_own_is_refused(monkeypatch):
    own = LayerBranch(lambda channels, stride: None, lambda *_: Cost(0, 0))
    monkeypatch.setitem(BRANCHES, "own", own)
    config = dataclasses.replace(CONFIG, branches=("skip", "own"))
    with pytest.raises(UserError, match="branch own"):
        command.check_compressible(dataclasses.replace(RUN, config=config))
