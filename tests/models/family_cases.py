"""The smallest model of each family, and what all families are asked alike, on any backend."""

import dataclasses
from typing import Any

import keras
import numpy as np

from drnet_tf.models.objective import Resource
from drnet_tf.models.registry import build_model, family_of, find_family, model_config

#: By family: a registered model, and changes that make it small.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "drnet": ("drnet_xs.digits", dict(cells=3, channels=4, nodes=2)),
    "plain": ("mobilenet_v2_w035.digits", dict(width=0.1)),
}

#: By how much counts may differ from publications: most round, and count other things than here.
COUNT_TOLERANCE = 0.025
#: Those of MobileNetV2 count no normalization, which is 5% of the MACs of a narrow network, and
#: give its size as 3.4 M.
COUNT_TOLERANCES = {"plain": 0.055}
BATCH, STEPS = 16, 10
LEARNING_RATE = 0.05


class ArrayFeed:
    """Hands batches on as they are."""

    arrays = ()
    per_image = (True, True)

    def prepare(self, arrays, images, labels):
        return images, labels


def config_of(family: str):
    """Returns the configuration of a case."""
    name, changes = CASES[family]
    return model_config(name, **changes)


def build(family: str, seed: int = 0, dtype=None):
    """Builds the model of a case; equal seeds give equal weights."""
    keras.utils.set_random_seed(seed)
    name, changes = CASES[family]
    return build_model(name, seed=seed, dtype=dtype, **changes)


def batch_of(config, count: int = BATCH):
    """Returns images and labels; the brightness of an image tells its class."""
    generator = np.random.default_rng(5)
    labels = np.arange(count, dtype="int32") % config.classes
    centre = 255 * labels[:, None, None, None] / (config.classes - 1)
    noise = generator.normal(0, 40, (count, config.image_size, config.image_size, 3))
    return np.clip(centre + noise, 0, 255).astype("float32"), labels


def make_step(training_step, model):
    """Makes the training step of a backend for a model, by the recipe "fast".

    Args:
        training_step: the class `TrainingStep` of the backend's step module.

    Returns:
        The step, and the `StepValues` of the first step of a run.
    """
    family = family_of(model.config)
    recipe = family.recipes["fast"]
    resource = None
    if family.resources:
        resource = Resource.from_cost(family.resources[0], model.cost)
    objective = family.objective(recipe, resource)
    values = family.step_values(recipe, 0, 100)
    return training_step(model, recipe, objective, ArrayFeed()), values


def losses(training_step, model) -> list[float]:
    """Trains a model on one batch and returns the loss before each step."""
    step, values = make_step(training_step, model)
    values = dataclasses.replace(values, learning_rate=LEARNING_RATE)
    batch = batch_of(model.config)
    return [float(step(batch, values)["loss"]) for _ in range(STEPS)]


def weights_of(model) -> dict[str, np.ndarray]:
    """Returns the weights of a model by their paths; states of random numbers are none."""
    return {weight.path: np.asarray(weight) for weight in model.weights}


def knob_values(family: str) -> tuple[float | None, ...]:
    """Returns the values of the knob to compare at; None runs all units."""
    knob = find_family(CASES[family][0]).knob
    return (None,) if knob is None else (knob.default, knob.everything)
