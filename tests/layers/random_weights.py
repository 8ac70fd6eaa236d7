"""Weights that are different everywhere, so that a mix-up of any two shows in the output."""

import numpy as np


def randomize(layer, seed=0):
    """Replaces all weights of a layer or model but its temperature and random states."""
    generator = np.random.default_rng(seed)
    for weight in layer.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(generator.normal(0, 0.3, weight.shape))
        elif "float" in weight.dtype and weight.name != "temperature":
            weight.assign(generator.normal(0, _inputs(weight.shape) ** -0.5, weight.shape))
    return layer


def _inputs(shape):
    """Numbers that one output of a kernel is the sum of."""
    if len(shape) >= 4 and shape[-1] == 1:  # depthwise, alone or stacked
        return shape[-4] * shape[-3]
    if len(shape) == 3:  # stacked pointwise
        return shape[1]
    return np.prod(shape[:-1])
