"""MobileNetV2 against publications, sums by hand, and a network of Keras's own layers."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from drnet_tf.models import build_from_config, model_config
from drnet_tf.models.plain.architecture import MobileNetV2Config, multiple_of_8
from drnet_tf.models.plain.cost import cost_table
from drnet_tf.models.plain.mobilenet_v2 import MobileNetV2
from tests.layers.random_weights import randomize

CIFAR = MobileNetV2Config(
    image_size=16,
    classes=3,
    width=0.35,
    mean=(100.0, 120.0, 140.0),
    deviation=(50.0, 60.0, 70.0),
)

IMAGENET = dataclasses.replace(CIFAR, image_size=33, stem="imagenet")


def _images(config, count=2):
    shape = (count, config.image_size, config.image_size, 3)
    return np.random.default_rng(1).integers(0, 256, shape).astype("float32")


@pytest.fixture(scope="module")
def cifar():
    return randomize(build_from_config(CIFAR))


@pytest.mark.parametrize(
    ("name", "params"),
    # The sizes that are known of the networks of torchvision and of pytorch-cifar.
    [("mobilenet_v2.imagenet", 3_504_872), ("mobilenet_v2.cifar10", 2_296_922)],
)
def test_params_are_those_of_other_implementations(name, params):
    assert cost_table(model_config(name)).total.params == params


def test_macs_on_cifar_are_the_published_ones():
    total = cost_table(model_config("mobilenet_v2.cifar10")).total
    assert total.macs / 1e6 == pytest.approx(94.42, rel=0.02)


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("mobilenet_v2.imagenet", 300),
        ("mobilenet_v2_w075.imagenet", 209),
        ("mobilenet_v2_w050.imagenet", 97),
        ("mobilenet_v2_w035.imagenet", 59),
    ],
)
def test_macs_without_normalization_are_the_published_ones(name, macs):
    config = model_config(name)
    counted = cost_table(config).total.macs - _normalized_elements(config)
    assert counted / 1e6 == pytest.approx(macs, rel=0.01)


@pytest.mark.parametrize("config", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
def test_params_are_those_of_the_built_model(config):
    model = build_from_config(config)
    built = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert cost_table(config).total.params == built


def test_macs_of_the_first_layers_are_the_sum_by_hand():
    config = model_config("mobilenet_v2.imagenet")
    first, second = config.blocks[:2]
    assert (first.inputs, first.expanded, first.outputs, first.stride) == (32, 32, 16, 1)
    assert (second.inputs, second.expanded, second.outputs, second.stride) == (16, 96, 24, 2)
    stem = (27 * 32 + 32) * 112**2
    block_0 = (9 * 32 + 32 + 32 * 16 + 16) * 112**2
    block_1 = (16 * 96 + 96) * 112**2 + (9 * 96 + 96 + 96 * 24 + 24) * 56**2
    rest = cost_table(config).total.macs - stem - block_0 - block_1
    assert rest == _macs_by_hand(config, skip=2) > 0


@pytest.mark.parametrize("config", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
def test_logits_are_those_of_a_network_of_keras_layers(config, cifar):
    model = cifar if config is CIFAR else randomize(build_from_config(config))
    images = _images(config)
    logits, _ = model(images)
    expected = _functional(model, config)(images)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("threshold", [None, 0.5, np.array([0.1, 0.9], "float32")])
def test_routing_says_that_all_runs(threshold, cifar):
    logits, routing = cifar(_images(CIFAR), threshold=threshold)
    assert (logits.shape, logits.dtype) == ((2, 3), "float32")
    assert np.asarray(routing.selected).tolist() == [True, True]
    assert np.asarray(routing.scores).tolist() == [0, 0]
    assert np.asarray(routing.macs).tolist() == [cifar.cost.total.macs] * 2
    assert (cifar.cost.units, routing.own) == ((), {})


def test_pixels_are_normalized_inside_the_model(cifar):
    images = _images(CIFAR)
    plain = build_from_config(dataclasses.replace(CIFAR, mean=(0,) * 3, deviation=(1,) * 3))
    plain.set_weights(cifar.get_weights())
    normalized = ((images - CIFAR.mean) / CIFAR.deviation).astype("float32")
    np.testing.assert_allclose(plain(normalized)[0], cifar(images)[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(cifar(images.astype("uint8"))[0], cifar(images)[0])


def test_mixed_precision_keeps_weights_and_logits_in_float32(cifar):
    model, images = build_from_config(CIFAR, dtype="mixed_bfloat16"), _images(CIFAR)
    model.set_weights(cifar.get_weights())
    assert {weight.dtype for weight in model.weights} == {"float32"}
    logits, routing = model(images)
    assert model.blocks[0].compute_dtype == "bfloat16"
    assert (logits.dtype, routing.macs.dtype) == ("float32", "float32")
    wide = np.asarray(cifar(images)[0])
    assert 0 < np.abs(np.asarray(logits) - wide).max() < 0.1 * np.abs(wide).max()


def test_configuration_makes_the_same_model():
    model = MobileNetV2(CIFAR, seed=7, name="mine", dtype="mixed_bfloat16")
    again = MobileNetV2.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert (again.config, again.seed, again.name) == (CIFAR, 7, "mine")
    block = again.blocks[3]
    assert type(block).from_config(block.get_config()).block == block.block


@pytest.mark.parametrize(
    ("channels", "rounded"), [(1, 8), (11.2, 16), (12, 16), (33.6, 32), (96, 96), (18, 24)]
)
def test_channels_are_multiples_of_8_and_not_a_tenth_smaller(channels, rounded):
    assert multiple_of_8(channels) == rounded


def test_last_convolution_is_as_wide_as_that_of_width_one_at_least():
    assert dataclasses.replace(CIFAR, width=0.5).last_channels == 1280
    assert dataclasses.replace(CIFAR, width=1.4).last_channels == 1792


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 4),
        ("image_size", 16.0),
        ("classes", 1),
        ("width", 0.0),
        ("width", float("nan")),
        ("width", "wide"),
        ("stem", "resnet"),
        ("mean", (1.0, 2.0)),
        ("deviation", (1.0, 0.0, 1.0)),
    ],
)
def test_value_without_meaning_is_an_error_that_names_the_field(field, value):
    with pytest.raises(ValueError, match=f"^{field} must"):
        dataclasses.replace(CIFAR, **{field: value})


def test_unknown_field_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="unknown fields.*depth"):
        model_config("mobilenet_v2.cifar10", depth=4)


# Table 2 of the paper: expansion, channels, blocks, stride.
TABLE_2 = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def _plan(config):
    """Yields inputs, expansion, outputs and stride of each block."""
    inputs = multiple_of_8(32 * config.width)
    for stage, (expansion, channels, blocks, stride) in enumerate(TABLE_2):
        if config.stem == "cifar" and stage == 1:
            stride = 1
        for block in range(blocks):
            outputs = multiple_of_8(channels * config.width)
            yield inputs, expansion, outputs, stride if block == 0 else 1
            inputs = outputs


def _functional(model, config):
    """Makes a network of Keras's layers with the weights of a model."""
    image = keras.Input((config.image_size, config.image_size, 3))
    x = layers.Normalization(mean=config.mean, variance=np.square(config.deviation))(image)
    stride = 1 if config.stem == "cifar" else 2
    x = _conv(x, layers.Conv2D(model.stem.filters, 3, stride, "same", use_bias=False), model.stem)
    x = layers.ReLU(6.0)(_norm(x, model.stem_norm))
    for block, (inputs, expansion, outputs, stride) in zip(
        model.blocks, _plan(config), strict=True
    ):
        assert x.shape[-1] == inputs
        y = x
        if expansion > 1 or config.stem == "cifar":
            expand = layers.Conv2D(expansion * inputs, 1, use_bias=False)
            y = layers.ReLU(6.0)(_norm(_conv(y, expand, block.expand), block.expand_norm))
        depthwise = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)
        y = _norm(_conv(y, depthwise, block.depthwise), block.depthwise_norm)
        project = layers.Conv2D(outputs, 1, use_bias=False)
        y = _norm(_conv(layers.ReLU(6.0)(y), project, block.project), block.project_norm)
        if stride == 1 and inputs == outputs:
            y = layers.Add()([x, y])
        elif stride == 1 and config.stem == "cifar":
            shortcut = layers.Conv2D(outputs, 1, use_bias=False)
            shortcut = _norm(_conv(x, shortcut, block.shortcut), block.shortcut_norm)
            y = layers.Add()([shortcut, y])
        x = y
    x = _conv(x, layers.Conv2D(1280, 1, use_bias=False), model.last)
    x = layers.GlobalAveragePooling2D()(layers.ReLU(6.0)(_norm(x, model.last_norm)))
    return keras.Model(image, _conv(x, layers.Dense(config.classes), model.classifier.dense))


def _conv(x, layer, source):
    y = layer(x)
    layer.set_weights(source.get_weights())
    return y


def _norm(x, source):
    return _conv(x, layers.BatchNormalization(epsilon=1e-5), source)


def _macs_by_hand(config, skip=0):
    """Sums the MACs of what comes after the first blocks, of width 1 for ImageNet."""
    size = config.image_size // 2
    total = 0
    for index, (inputs, expansion, outputs, stride) in enumerate(_plan(config)):
        wide, after = expansion * inputs, size // stride
        if index >= skip:
            total += (inputs * wide + wide) * size**2
            total += (9 * wide + wide + wide * outputs + outputs) * after**2
        size = after
    return total + (320 * 1280 + 1280) * size**2 + 1280 * config.classes


def _normalized_elements(config):
    """Counts the elements that are normalized, each of which costs 1."""
    cifar = config.stem == "cifar"
    size = config.image_size if cifar else config.image_size // 2
    total = multiple_of_8(32 * config.width) * size**2
    for inputs, expansion, outputs, stride in _plan(config):
        wide, after = expansion * inputs, size // stride
        total += wide * size**2 if cifar or expansion > 1 else 0
        total += (wide + outputs) * after**2
        total += outputs * after**2 if cifar and stride == 1 and inputs != outputs else 0
        size = after
    return total + 1280 * size**2
