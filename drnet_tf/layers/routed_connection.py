"""What reaches a node: the weighted sum of the branches of its connections (Eq. 3)."""

from __future__ import annotations

from keras import ops


def weighted_sum(branches, weights):
    """Sum over b of weights[:, b] * branches[b], each image with weights of its own.

    Training needs all branches, and an evaluation in batch computes them all too, with zero
    weights for those that are not selected; the exported graph runs only the selected ones.

    Args:
        branches: tensors, float [batch, height, width, channels] each.
        weights: float32 [batch, len(branches)].

    Returns:
        float [batch, height, width, channels].
    """
    size = branches[0].shape[1] * branches[0].shape[2] * branches[0].shape[3]
    rows = [ops.reshape(branch, (-1, size)) for branch in branches]
    total = _weighted_rows(ops.cast(weights, rows[0].dtype), *rows)
    return ops.reshape(total, ops.shape(branches[0]))


@ops.custom_gradient
def _weighted_rows(weights, *rows):
    """Sum over b of weights[:, b] * rows[b] for rows of [batch, n]."""
    columns = ops.split(weights, len(rows), axis=1)
    total = rows[0] * columns[0]
    for row, column in zip(rows[1:], columns[1:], strict=True):
        total = total + row * column

    def gradient(upstream):
        # Dot products as matrix products, which keep no product of all elements.
        across = ops.expand_dims(upstream, 1)
        d_weights = [ops.matmul(across, ops.expand_dims(row, 2)) for row in rows]
        return (
            ops.reshape(ops.concatenate(d_weights, axis=2), ops.shape(weights)),
            *(upstream * column for column in columns),
        )

    return total, gradient
