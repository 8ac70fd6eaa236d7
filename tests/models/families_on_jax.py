"""A program: logits, selected units and losses of the model of every family on JAX.

KERAS_BACKEND=jax python -m tests.models.families_on_jax weights.npz result.npz
"""

import sys

import numpy as np

from drnet_tf.backends.jax import compile_forward
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
        forward = compile_forward(model)
        for index, value in enumerate(family_cases.knob_values(family)):
            # As a whole: operation by operation each would be compiled on its own.
            logits, selected = forward(images, value)
            results[f"{family}/logits/{index}"] = logits
            results[f"{family}/selected/{index}"] = selected
        results[f"{family}/losses"] = np.array(family_cases.losses(TrainingStep, model))
    np.savez(destination, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
