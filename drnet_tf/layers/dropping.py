"""Drop-connection and drop-branch: regularization of the routing in training (Sec. 4.1)."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.draws import Draws


@keras.saving.register_keras_serializable(package="drnet_tf")
class DropRouting(keras.layers.Layer):
    """Drops connections and branches of each image at random, by their weights.

    A dropped connection contributes nothing and the others of the network are scaled by
    1 / (1 - rate), as in drop-path. Of the branches of a connection each is dropped with the
    given rate, at least one survives, and the surviving weights are divided by their sum, as the
    selection at inference does.

    Args:
        seed: of the draws.

    Call arguments:
        weights: float [batch, connections, branches], each row summing to 1.
        connection_rate: scalar in [0, 1).
        branch_rate: scalar in [0, 1].

    Returns:
        float [batch, connections, branches].
    """

    def __init__(self, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, weights_shape):
        # Made here, not in __init__, so that its state has a path of its own in checkpoints.
        self.draws = Draws(self.seed, name="draws")

    def call(self, weights, connection_rate, branch_rate):
        shape = ops.shape(weights)
        draw = keras.random.uniform(shape, seed=self.draws)
        # The branch with the highest draw survives at any rate.
        alive = ops.logical_or(draw >= branch_rate, draw >= ops.max(draw, axis=-1, keepdims=True))
        weights = weights * ops.cast(alive, weights.dtype)
        weights = weights / (ops.sum(weights, axis=-1, keepdims=True) + 1e-12)
        draw = keras.random.uniform((shape[0], shape[1], 1), seed=self.draws)
        kept = ops.cast(draw >= connection_rate, weights.dtype)
        return weights * kept / (1.0 - connection_rate)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
