"""An average of the weights over the end of a run, which classifies better than the last weights.

The time constant is a share of the run, as every schedule is: a short run averages over the same
part of its way as a long one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
from keras import ops

from drnet_tf.backends.choice import backend_module

# An update reads every weight, in a kernel each: some hundred small ones, that would be felt if
# they came with every step. Weights change little within so few steps.
_LARGEST_INTERVAL = 16
_UPDATES_A_TIME_CONSTANT = 8


class WeightAverage:
    """Averages: A <- A + (W - A) max(1 / n, 1 - exp(-interval / constant)) at update n.

    The exponential average of the weights W, but their plain mean as long as there are fewer than a
    time constant of them: at no time do the initial weights weigh more than others. What happens
    at a step is a function of its number, so that a resumed run averages as an undisturbed one.

    The moving moments of batch normalization are averaged too. Those of the last weights would be
    wrong for the average; their average is near, and norm_moments.py makes it right.

    Args:
        step_function: a `TrainingStep`, whose `weights` are averaged.
        share: the time constant as a share of the run; 0 averages nothing.
        total: steps of the run.
    """

    def __init__(self, step_function, share: float, total: int):
        self.step_function = step_function
        self.constant = share * total
        steps = round(self.constant / _UPDATES_A_TIME_CONSTANT)
        self.interval = min(max(steps, 1), _LARGEST_INTERVAL)
        self.average: list | None = None
        self._blend = backend_module().compiled(_blend)

    def load(self, values: dict[str, np.ndarray]) -> None:
        """Resumes from `values()` of a checkpoint."""
        if values:
            variables = self.step_function.weight_variables
            self.average = [ops.convert_to_tensor(values[v.path]) for v in variables]

    def update(self, step: int) -> None:
        """Takes the weights after step `step`, counted from 1, in."""
        if not self.constant or step % self.interval:
            return
        weights = self.step_function.weights()
        newest = max(self.interval / step, -math.expm1(-self.interval / self.constant))
        # The first time the newest has all the weight, whatever the average is.
        self.average = self._blend(self.average or weights, weights, np.float32(newest))

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Gives the model the average for its weights, where there is one, while in the block."""
        self.step_function.sync()
        if self.average is None:
            yield
            return
        variables = self.step_function.weight_variables
        raw = [np.array(variable) for variable in variables]
        _assign(variables, self.values().values())
        try:
            yield
        finally:
            _assign(variables, raw)

    def values(self) -> dict[str, np.ndarray]:
        """Returns the average by the paths of the variables; empty where there is none."""
        if self.average is None:
            return {}
        variables = self.step_function.weight_variables
        return {v.path: np.asarray(a) for v, a in zip(variables, self.average, strict=True)}


def _assign(variables, values) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _blend(average, weights, newest):
    return [a + (w - a) * newest for a, w in zip(average, weights, strict=True)]
