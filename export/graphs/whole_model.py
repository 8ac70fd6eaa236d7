"""The graph of a model without routing: the Keras model as it is."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from drnet_tf.errors import UserError
from drnet_tf.layers.devices import Devices, adapt_to
from export.graphs.frozen_layer import freeze
from export.graphs.parts import Change
from export.graphs.plan import Plan


class WholeModel:
    """Makes a `RoutedGraph` of a model that runs everything for every image.

    The converters fold normalization into convolutions themselves, once its variables are
    constants.

    Args:
        model: built; called with images it returns logits and a `Routing` with no units.
    """

    routed = False
    units: tuple[int, ...] = ()
    unit_names: tuple[str, ...] = ()
    own_layers: tuple[str, ...] = ()

    def __init__(self, model: Any):
        self.config = model.config
        self.gateable = np.zeros((), bool)
        size = self.config.image_size
        adapt_to(model, Devices(converted=True))
        self._logits = freeze(lambda images: model(images)[0], [None, size, size, 3])
        adapt_to(model, Devices())

    def forward(self, image: tf.Tensor, threshold: Any, plan: Plan) -> dict[str, tf.Tensor]:
        """Classifies images; see `RoutedGraph`. There is nothing for a threshold or a plan."""
        logits = self._logits(image)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    def facts(self, plan: Plan) -> dict[str, Any]:
        """Returns nothing: what all families have says all of it."""
        return {}

    def map(self, change: Change) -> NoReturn:
        """Raises a UserError: it does not know its parts."""
        raise UserError(
            "the weights of a model without routing cannot be changed one by one: it is neither "
            "fine-tuned in int8 nor compressed"
        )

    def undecided(
        self, own: dict[str, np.ndarray], scores: np.ndarray, threshold: float | None
    ) -> np.ndarray:
        """Returns false, bool [batch]: it decides nothing."""
        return np.zeros(np.shape(scores), bool)
