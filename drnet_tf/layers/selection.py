"""Selection of branches by threshold (Sec. 3.3)."""

from __future__ import annotations

import numpy as np
from keras import ops


def select(weights, threshold):
    """Selects, for each connection, the branches that an image needs.

    Branches are ranked by weight, ties going to the lower index. A branch is selected iff the
    weights ranked before it sum to at most the threshold. The first one is therefore always
    selected; a threshold of 1 or more selects all, one of 0 or less, or NaN, just the first. The
    weights of the selected branches are divided by their sum.

    Ranks come from comparing all pairs: it is exact, needs no sort, and converts to builtin
    TFLite operations.

    Args:
        weights: float [..., branches], not negative, each row summing to 1.
        threshold: float, broadcastable to [..., branches]: a scalar, or with axes of size 1.

    Returns:
        selected: bool [..., branches].
        weights: float [..., branches], zero where not selected, each row summing to 1.
    """
    before = _ranked_before(weights)
    first = ops.logical_not(ops.any(before, axis=-1))
    # The weights may sum to a little more than 1, hence the second term.
    selected = ops.logical_or(
        _mass(weights, before) <= threshold, ops.logical_or(first, threshold >= 1.0)
    )
    kept = ops.where(selected, weights, ops.zeros_like(weights))
    return selected, kept / ops.sum(kept, axis=-1, keepdims=True)


def mass_before(weights):
    """Sums, for each branch, the weights that are ranked before its own: what T is compared with.

    Args:
        weights: float [..., branches], as for `select`.

    Returns:
        float [..., branches].
    """
    return _mass(weights, _ranked_before(weights))


def _ranked_before(weights):
    """Tells, bool [..., this branch, other branch], whether the other is ranked before this one."""
    branches = weights.shape[-1]
    this, other = ops.expand_dims(weights, -1), ops.expand_dims(weights, -2)
    lower_index = np.tril(np.ones((branches, branches), bool), -1)
    return ops.logical_or(
        other > this, ops.logical_and(ops.equal(other, this), ops.convert_to_tensor(lower_index))
    )


def _mass(weights, before):
    other = ops.expand_dims(weights, -2)
    return ops.sum(ops.where(before, other, ops.zeros_like(other)), axis=-1)
