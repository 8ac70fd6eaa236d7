"""Recalibration of the RouterNet's weights with Gumbel-Softmax (Sec. 3.2)."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.errors import require
from drnet_tf.layers.draws import Draws

RECALIBRATIONS = ("gumbel_softmax", "softmax", "none")


@keras.saving.register_keras_serializable(package="drnet_tf")
class Recalibration(keras.layers.Layer):
    """Computes softmax((w + g) / tau) over the branches of each connection.

    g is Gumbel(0, 1) noise, drawn in training only, so that evaluation is deterministic. The two
    ablations of the paper: "softmax" draws no noise, "none" gives every branch the same weight.

    Args:
        kind: "gumbel_softmax", "softmax" or "none".
        seed: of the noise.

    Call arguments:
        logits: float [batch, connections, branches], from the RouterNet.
        temperature: tau, a positive scalar.
        training: whether to draw noise.

    Returns:
        float [batch, connections, branches]; each row over the branches sums to 1.
    """

    def __init__(self, kind: str = "gumbel_softmax", seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        require(kind in RECALIBRATIONS, f"kind must be one of {', '.join(RECALIBRATIONS)}", kind)
        self.kind = kind
        self.seed = seed

    def build(self, logits_shape):
        # Made here, not in __init__, so that its state has a path of its own in checkpoints.
        self.noise = Draws(self.seed, name="noise")

    def call(self, logits, temperature, training=False):
        if self.kind == "none":
            return ops.full_like(logits, 1.0 / logits.shape[-1])
        if self.kind == "gumbel_softmax" and training:
            logits = logits + gumbel_noise(ops.shape(logits), self.noise)
        return ops.softmax(logits / temperature, axis=-1)

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "seed": self.seed}


def gumbel_noise(shape, seed):
    """Draws Gumbel(0, 1) noise, -log(-log(u)) for u uniform in (0, 1)."""
    # Away from 0 and 1 by one float32 step, where the logarithms are infinite.
    uniform = keras.random.uniform(shape, minval=1e-7, maxval=1.0 - 1e-7, seed=seed)
    return -ops.log(-ops.log(uniform))
