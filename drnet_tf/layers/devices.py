"""What layers do differently on the devices that a run has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras


@dataclasses.dataclass(frozen=True)
class Devices:
    """Describes the devices of a run, as far as layers differ between them.

    Args:
        synchronized: whether normalization takes the moments of all replicas under tf.distribute.
            It costs operations, hence only where there is more than one replica; JAX needs no such
            switch.
        fold_seed: makes a seed, integer [2], another one for each replica; None leaves it.
        depthwise_conv: a faster depthwise convolution than the backend's own, a function of an
            image, a kernel [k, k, channels, 1] and a stride, with "same" padding; None for the own.
        converted: whether inference is traced for a converter. It folds normalization into the
            convolution before it where that is written channel by channel.
    """

    synchronized: bool = False
    fold_seed: Callable | None = None
    depthwise_conv: Callable | None = None
    converted: bool = False


def adapt_to(model: keras.Model, devices: Devices) -> None:
    """Tells every layer of a model, and every generator of random numbers in it, of the devices."""
    for layer in all_layers(model):
        for part in (layer, *layer._seed_generators):
            if hasattr(part, "adapt_to"):
                part.adapt_to(devices)


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Lists a model and all layers in it."""
    # Keras has no public name for it that finds the layers of layers.
    return list(model._flatten_layers())
