"""A small model whose routing differs between images, and what Keras says of it."""

import keras
import numpy as np

from drnet_tf.models import DRNet, build_from_config
from drnet_tf.models.drnet.architecture import DRNetConfig
from export.tflite.runner import Outputs

CLASS_NAMES = ("zero", "one", "two", "three")
CONFIG = DRNetConfig(image_size=16, classes=len(CLASS_NAMES), cells=3, channels=4, nodes=2)


def model_with_varied_routing(config: DRNetConfig, seed: int = 0) -> DRNet:
    """A model whose normalization is not trivial and whose routing differs between images."""
    keras.utils.set_random_seed(seed)  # of the initial weights
    model = build_from_config(config, seed)
    generator = np.random.default_rng(seed)
    ranges = {
        "gamma": (0.7, 1.3),
        "beta": (-0.3, 0.3),
        "moving_mean": (-0.3, 0.3),
        "moving_variance": (0.5, 2.0),
    }
    for variable in model.variables:
        name = variable.path.split("/")[-1]
        if name in ranges:
            variable.assign(generator.uniform(*ranges[name], variable.shape))
        elif "router_net/dense" in variable.path:
            variable.assign(generator.normal(0, 3, variable.shape))
        elif "kernel" in name or "wise" in name:
            variable.assign(2 * np.asarray(variable))
    return model


def images_of(config: DRNetConfig, count: int, seed: int = 0) -> np.ndarray:
    """Images that differ in brightness, so that their features and routings differ too."""
    generator = np.random.default_rng(seed)
    shape = (count, config.image_size, config.image_size, 3)
    centre = generator.uniform(0, 255, (count, 1, 1, 3))
    return np.clip(generator.normal(centre, 80, shape), 0, 255).astype(np.float32)


def run_keras(model: DRNet, images: np.ndarray, threshold: float) -> Outputs:
    """What the Keras model says, with masked branches."""
    logits, routing = model(images, threshold=threshold)
    logits = logits.numpy()
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    selected = routing.selected.numpy()
    return Outputs(
        logits,
        exponentials / exponentials.sum(axis=1, keepdims=True),
        selected,
        model.cost.of_selection(selected)[1].astype(np.float32),
    )


def assert_equal_outputs(actual: Outputs, expected: Outputs) -> None:
    np.testing.assert_array_equal(actual.selected, expected.selected)
    np.testing.assert_array_equal(actual.flops, expected.flops)
    scale = np.abs(expected.logits).max()
    np.testing.assert_allclose(actual.logits, expected.logits, rtol=0, atol=1e-4 * scale)
    np.testing.assert_allclose(actual.probabilities, expected.probabilities, rtol=0, atol=1e-4)
