"""A program: logits, selected units and losses of the model of every family on JAX.

KERAS_BACKEND=jax python -m tests.models.families_on_jax weights.npz result.npz
"""

import sys

import numpy as np

from drnet_tf.training.on_jax.step import TrainingStep
from tests.models import family_cases


def main(source: str, destination: str) -> None:
    with np.load(source) as file:
        weights = dict(file)
    results = {}
    for family in family_cases.CASES:
        model = family_cases.build(family)
        for weight in model.weights:
            weight.assign(weights[f"{family}/{weight.path}"])
        images, _ = family_cases.batch_of(model.config)
        for index, value in enumerate(family_cases.knob_values(family)):
            logits, routing = model(images, threshold=value)
            results[f"{family}/logits/{index}"] = np.asarray(logits)
            results[f"{family}/selected/{index}"] = np.asarray(routing.selected)
        results[f"{family}/losses"] = np.array(family_cases.losses(TrainingStep, family))
    np.savez(destination, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
