"""What reaches a node: the weighted sum of the branches of its connections (Eq. 3)."""

from __future__ import annotations

import functools

from keras import ops


def weighted_sum(branches, weights):
    """Sums over b weights[b] * branches[b], each image with weights of its own.

    Training needs all branches, and an evaluation in batch computes them all too, with zero
    weights for those that are not selected; the exported graph runs only the selected ones.

    Args:
        branches: tensors, float [batch, height, width, channels] each.
        weights: of each branch, float32 [batch, 1].

    Returns:
        float [batch, height, width, channels].
    """
    size = branches[0].shape[1] * branches[0].shape[2] * branches[0].shape[3]
    products = [
        ops.reshape(branch, (-1, size)) * ops.cast(weight, branch.dtype)
        for branch, weight in zip(branches, weights, strict=True)
    ]
    return ops.reshape(functools.reduce(ops.add, products), ops.shape(branches[0]))


def sum_with_offsets(images, offsets):
    """Sums images, float [batch, height, width, channels], and offsets [batch, channels]."""
    total = functools.reduce(ops.add, images)
    if not offsets:
        return total
    _, height, width, channels = total.shape
    offset = ops.cast(functools.reduce(ops.add, offsets), total.dtype)
    # Rows of width * channels numbers: see batch_norm.
    rows = (
        ops.reshape(total, (-1, height, width * channels)) + ops.tile(offset, (1, width))[:, None]
    )
    return ops.reshape(rows, (-1, height, width, channels))
