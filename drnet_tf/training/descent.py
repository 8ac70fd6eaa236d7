"""What is done to gradients before the optimizer takes them."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from drnet_tf.models.schedules import Optimization


def clip_and_decay(gradients: Sequence, weights: Sequence, recipe: Optimization) -> list:
    """Scales gradients to a global norm of at most `clip_norm`, then adds `weight_decay` * weight.

    Args:
        gradients: of the whole batch, one for each weight.
        weights: tensors.
        recipe: has both numbers.
    """
    if recipe.clip_norm:
        squares = ops.stack([ops.sum(ops.square(gradient)) for gradient in gradients])
        norm = ops.sqrt(ops.sum(squares))
        # Not the other way round: a norm of 0 gives infinity here, and then a factor of 1.
        factor = ops.minimum(1.0, recipe.clip_norm / norm)
        gradients = [gradient * factor for gradient in gradients]
    decay = recipe.weight_decay
    return [g + decay * w for g, w in zip(gradients, weights, strict=True)]
