"""A whole DRNet: against plain numpy, thresholds, saving, precision."""

import dataclasses

import keras
import numpy as np
import pytest

from drnet_tf.layers import BRANCHES, Cost, LayerBranch
from drnet_tf.models import DRNet, build_from_config, build_model
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.cost import cost_table
from tests.layers import numpy_network
from tests.layers.random_weights import randomize

CIFAR = DRNetConfig(
    image_size=9,
    classes=3,
    cells=3,
    channels=4,
    nodes=2,
    mean=(100.0, 120.0, 140.0),
    deviation=(50.0, 60.0, 70.0),
)

IMAGENET = dataclasses.replace(
    CIFAR, image_size=32, stem="imagenet", branches=("sep_conv_3x3", "skip")
)

SMALL = dataclasses.replace(CIFAR, cells=2, branches=("avg_pool_3x3", "sep_conv_3x3", "skip"))


def _images(config, count=4):
    shape = (count, config.image_size, config.image_size, 3)
    return np.random.default_rng(1).integers(0, 256, shape).astype("float32")


@pytest.fixture(scope="module")
def cifar():
    return randomize(build_from_config(CIFAR))


@pytest.fixture(scope="module")
def small():
    return randomize(build_from_config(SMALL))


@pytest.mark.parametrize("threshold", [None, 0.5])
@pytest.mark.parametrize("config", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
def test_outputs_are_those_of_plain_numpy(config, threshold, cifar):
    model = cifar if config is CIFAR else randomize(build_from_config(config))
    images = _images(config)
    logits, routing = model(images, threshold=threshold)
    expected, recalibrated, selected, auxiliary = numpy_network.network(
        model, images, 3.0, threshold
    )
    np.testing.assert_array_equal(routing.selected, selected)
    np.testing.assert_allclose(routing.own["recalibrated"], recalibrated, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(routing.own["auxiliary_logits"], auxiliary, rtol=1e-3, atol=2e-3)


def _tensors(routing):
    return {
        **{name: getattr(routing, name) for name in ("selected", "scores", "macs")},
        **routing.own,
    }


def test_routing_has_the_documented_names_shapes_and_types(cifar):
    logits, routing = cifar(_images(CIFAR), threshold=0.6)
    described = {
        name: (tuple(v.shape), keras.backend.standardize_dtype(v.dtype))
        for name, v in _tensors(routing).items()
    }
    units = (4, 3, 4, 5)
    assert described == {
        "scores": (units, "float32"),
        "router_logits": (units, "float32"),
        "recalibrated": (units, "float32"),
        "selected": (units, "bool"),
        "expected_macs": ((4,), "float32"),
        "macs": ((4,), "float32"),
        "auxiliary_logits": ((4, 3), "float32"),
    }
    assert logits.shape == (4, 3) and logits.dtype == "float32"


def test_macs_are_those_of_the_selected_branches(cifar):
    _, routing = cifar(_images(CIFAR), threshold=0.5)
    table = cost_table(CIFAR)
    selected = np.asarray(routing.selected)
    recalibrated = np.asarray(routing.own["recalibrated"], "float64")
    assert not selected.all()
    macs = (selected * table.unit_macs).sum(axis=(1, 2, 3)) + table.fixed.macs
    np.testing.assert_allclose(routing.macs, macs, rtol=1e-6)
    expected = (recalibrated * table.unit_macs).sum(axis=(1, 2, 3)) + table.fixed.macs
    np.testing.assert_allclose(routing.own["expected_macs"], expected, rtol=1e-5)


def test_scores_are_what_the_threshold_is_compared_with(cifar):
    """A unit is selected where its score, the sum of the weights ranked before, is T at most."""
    threshold = 0.5
    _, routing = cifar(_images(CIFAR), threshold=threshold)
    weights = np.asarray(routing.own["recalibrated"], "float64")
    order = np.argsort(-weights, axis=-1, kind="stable")
    ranked = np.take_along_axis(weights, order, axis=-1)
    before = np.empty_like(weights)
    np.put_along_axis(before, order, np.cumsum(ranked, axis=-1) - ranked, axis=-1)
    np.testing.assert_allclose(routing.scores, before, atol=1e-6)
    np.testing.assert_array_equal(
        np.asarray(routing.scores) <= threshold, np.asarray(routing.selected)
    )


def test_evaluations_are_equal_to_the_bit(small):
    first, second = (small(_images(SMALL), threshold=0.5) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    for name, value in _tensors(first[1]).items():
        np.testing.assert_array_equal(value, _tensors(second[1])[name])


def test_threshold_of_one_runs_all_branches_as_none_does(small):
    (every, routing), (plain, _) = (small(_images(SMALL), threshold=t) for t in (1.0, None))
    assert np.asarray(routing.selected).all()
    np.testing.assert_allclose(every, plain, rtol=1e-4, atol=1e-5)


def test_thresholds_of_each_image_are_those_of_separate_calls(small):
    images, thresholds = _images(SMALL), np.array([0.0, 0.4, 0.6, 1.0], "float32")
    logits, routing = small(images, threshold=thresholds)
    counts = set()
    for image, threshold in enumerate(thresholds):
        alone, own_routing = small(images[image : image + 1], threshold=float(threshold))
        np.testing.assert_array_equal(routing.selected[image], own_routing.selected[0])
        np.testing.assert_allclose(logits[image], alone[0], rtol=1e-4, atol=1e-5)
        counts.add(int(np.asarray(own_routing.selected).sum()))
    assert len(counts) == 4


def test_pixels_are_normalized_inside_the_model(small):
    images = _images(SMALL)
    plain = build_from_config(dataclasses.replace(SMALL, mean=(0,) * 3, deviation=(1,) * 3))
    plain.set_weights(small.get_weights())
    normalized = ((images - SMALL.mean) / SMALL.deviation).astype("float32")
    np.testing.assert_allclose(plain(normalized)[0], small(images)[0], rtol=1e-3, atol=1e-4)


def test_integer_pixels_give_the_same_logits_as_floats(small):
    images = _images(SMALL)
    np.testing.assert_array_equal(small(images.astype("uint8"))[0], small(images)[0])


@pytest.mark.parametrize("form", [".keras", ".weights.h5"])
def test_saved_model_gives_equal_outputs(form, small, tmp_path):
    images, path = _images(SMALL), tmp_path / f"model{form}"
    expected = small(images, threshold=0.5)
    if form == ".keras":
        small.save(path)
        again = keras.models.load_model(path)
    else:
        small.save_weights(path)
        again = build_from_config(SMALL)
        again.load_weights(path)
    assert again.config == SMALL
    actual = again(images, threshold=0.5)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_array_equal(
        actual[1].own["auxiliary_logits"], expected[1].own["auxiliary_logits"]
    )


def test_temperature_is_saved_with_the_weights_and_not_trained(small, tmp_path):
    assert "temperature" not in {weight.name for weight in small.trainable_weights}
    assert float(build_from_config(SMALL).temperature) == 3.0
    small.temperature.assign(0.7)
    try:
        small.save_weights(tmp_path / "model.weights.h5")
    finally:
        small.temperature.assign(3.0)
    again = build_from_config(SMALL)
    again.load_weights(tmp_path / "model.weights.h5")
    assert float(again.temperature) == pytest.approx(0.7)


def test_weights_have_names_of_their_own(cifar):
    paths = [weight.path for weight in cifar.weights]
    assert len(set(paths)) == len(paths)


def test_configuration_makes_the_same_model():
    model = DRNet(SMALL, seed=7, name="mine", dtype="mixed_bfloat16")
    again = DRNet.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert (again.config, again.seed, again.name) == (SMALL, 7, "mine")
    assert again.dtype_policy.name == "mixed_bfloat16"


def test_built_model_by_name_takes_fields_and_runs():
    model = build_model("drnet_s.cifar10", image_size=8, cells=1, channels=2, nodes=1, classes=4)
    logits, _ = model(np.zeros((2, 8, 8, 3), "float32"))
    assert logits.shape == (2, 4)


def test_training_draws_from_the_seed():
    config = dataclasses.replace(SMALL, cells=1)
    models = [build_from_config(config, seed=seed) for seed in (1, 1, 2)]
    for model in models:
        randomize(model)
    outputs = [
        np.asarray(model(_images(config), branch_rate=0.5, training=True)[0]) for model in models
    ]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)
    assert np.abs(outputs[0] - outputs[2]).max() > 1e-3


def test_branch_list_of_a_user_is_part_of_the_saved_model(monkeypatch, tmp_path):
    own = LayerBranch(
        lambda channels, stride: keras.layers.Conv2D(channels, 3, stride, padding="same"),
        lambda channels, stride, size: Cost(9 * channels**2 + channels, 100),
    )
    monkeypatch.setitem(BRANCHES, "conv_3x3", own)
    config = dataclasses.replace(SMALL, branches=("conv_3x3", "skip"))
    model, images = randomize(build_from_config(config)), _images(config)
    logits, routing = model(images, threshold=0.3)
    assert routing.selected.shape == (4, 2, 4, 2)
    model.save(tmp_path / "own.keras")
    again = keras.models.load_model(tmp_path / "own.keras")
    assert again.config.branches == ("conv_3x3", "skip")
    np.testing.assert_array_equal(again(images, threshold=0.3)[0], logits)


def test_mixed_precision_runs_with_router_and_logits_in_float32(small):
    model, images = build_from_config(SMALL, dtype="mixed_bfloat16"), _images(SMALL)
    model.set_weights(small.get_weights())
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    logits, routing = model(images)
    assert model.cells[0].compute_dtype == "bfloat16"
    assert logits.dtype == "float32"
    for name in ("router_logits", "recalibrated", "auxiliary_logits"):
        assert routing.own[name].dtype == "float32"
    wide, _ = small(images)
    assert 0 < np.abs(np.asarray(logits) - wide).max() < 0.1 * np.abs(wide).max()


def test_mixed_precision_does_not_round_the_threshold():
    """0.799 is 0.8008 in bfloat16, which would select the fifth of five equal branches."""
    config = dataclasses.replace(CIFAR, cells=1, nodes=1, node_inputs=(), router="none")
    model = build_from_config(config, dtype="mixed_bfloat16")
    for threshold in (0.799, np.float32(0.799), np.full(4, 0.799, "float32")):
        _, routing = model(_images(config), threshold=keras.ops.convert_to_tensor(threshold))
        assert np.asarray(routing.selected).sum(axis=-1).tolist() == [[[4, 4]]] * 4


def test_mixed_precision_does_not_round_the_temperature():
    config = dataclasses.replace(SMALL, cells=1, nodes=1, node_inputs=())
    model = randomize(build_from_config(config, dtype="mixed_bfloat16"))
    model.temperature.assign(0.7035)  # 0.703125 is the closest bfloat16 below, 0.70703 above
    _, routing = model(_images(config))
    weights = np.asarray(routing.own["router_logits"], "float64")
    expected = numpy_network.reference.softmax(weights / 0.7035)
    np.testing.assert_allclose(routing.own["recalibrated"], expected, rtol=2e-5, atol=1e-7)
