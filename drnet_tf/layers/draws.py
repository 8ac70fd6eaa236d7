"""The seeds of a layer's random draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from drnet_tf.layers.devices import Devices


class Draws(keras.random.SeedGenerator):
    """Seeds draws that can differ between devices that hold the same state.

    Attributes:
        fold: None, or a function from a seed, integer [2], to the one to use in its place. Under
            tf.distribute every replica has the same state, so that one checkpoint serves all; the
            training step gives, in `Devices`, a function that gives each replica seeds of its own.
            On JAX a draw is one of the whole batch, however many devices share it.
    """

    fold: Callable[[Any], Any] | None = None

    def next(self, ordered: bool = True) -> Any:
        """Returns the next seed, integer [2]."""
        seed = super().next(ordered)
        return seed if self.fold is None else self.fold(seed)

    def adapt_to(self, devices: Devices) -> None:
        """Draws other numbers on each replica where there are several."""
        self.fold = devices.fold_seed
