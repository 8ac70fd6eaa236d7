"""Which example comes when: a pure function of the seed and the epoch.

NumPy only, so that the tf.data and the in-memory pipelines share one order and the latter does
not need TensorFlow.
"""

from __future__ import annotations

import numpy as np


def epoch_seed(seed: int, epoch: int) -> tuple[int, int]:
    """Returns two 31-bit integers that seed everything random of one epoch.

    Neighbouring seeds and epochs give unrelated numbers, and (seed, epoch) = (1, 2) is not (2, 1).
    """
    state = _sequence(seed, epoch).generate_state(2, np.uint32)
    return int(state[0] >> 1), int(state[1] >> 1)


def epoch_order(num_examples: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of the examples in one epoch: a permutation, int32 [num_examples]."""
    generator = np.random.default_rng(_sequence(seed, epoch).spawn(1)[0])
    return generator.permutation(num_examples).astype(np.int32)


def _sequence(seed: int, epoch: int) -> np.random.SeedSequence:
    # SeedSequence takes non-negative integers only; users do pass --seed=-1.
    return np.random.SeedSequence([seed & 0xFFFFFFFF, epoch])
