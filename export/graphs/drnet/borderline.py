"""Finds the selections of branches that rounding decides."""

from __future__ import annotations

import numpy as np

MARGIN = 1e-5


def borderline(recalibrated: np.ndarray, threshold: float, margin: float = MARGIN) -> np.ndarray:
    """Finds the branches whose selection could flip if weights moved by up to `margin`.

    The weight ranked before a branch is compared with the threshold. It can change by rounding,
    and by the weight of another branch where the two are nearly, but not exactly, tied: then they
    change ranks. Exact ties go to the lower index in every implementation.

    Args:
        recalibrated: float [..., branches], each row summing to 1.
        threshold: T.
        margin: how far a weight or a sum may be off.

    Returns:
        bool [..., branches].
    """
    weights = np.asarray(recalibrated, np.float64)
    branches = weights.shape[-1]
    gap = weights[..., None, :] - weights[..., :, None]  # of another branch over this one
    lower_index = np.tril(np.ones((branches, branches), bool), -1)
    surely_before = (gap > margin) | ((gap == 0) & lower_index)
    maybe_before = surely_before | ((np.abs(gap) <= margin) & (gap != 0))
    least, most = (
        np.where(before, weights[..., None, :], 0).sum(axis=-1)
        for before in (surely_before, maybe_before)
    )
    undecided = (least - margin <= threshold) & (threshold <= most + margin)
    # One that is surely the first is selected, and with T >= 1 all are, whatever the sums.
    return undecided & maybe_before.any(axis=-1) & ~(threshold >= 1)
