"""The graph of a trained model: what every exported form of it is made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
import tensorflow as tf

from drnet_tf.errors import UserError
from drnet_tf.models.registry import family_of
from export.graphs.drnet.folding import read_weights
from export.graphs.drnet.vector_lanes import fill_vector_lanes
from export.graphs.parts import Change
from export.graphs.plan import Plan
from export.graphs.whole_model import WholeModel

#: What `RoutedGraph.forward` returns; the first two where images do not choose.
OUTPUTS = ("logits", "probabilities", "selected", "flops")


class RoutedGraph(Protocol):
    """Describes the inference of one trained model, with folded weights as numpy arrays.

    Attributes:
        config: the model's architecture.
        units: the shape of what an image can skip, as in `Routing`.
        unit_names: what the axes of units are.
        gateable: bool [*units], the units that are worth an IF where nothing was measured.
        routed: whether it takes a threshold and says what it selected.
        own_layers: the names of units that are Keras layers of a user's own.
    """

    @property
    def config(self) -> Any: ...
    @property
    def units(self) -> tuple[int, ...]: ...
    @property
    def unit_names(self) -> tuple[str, ...]: ...
    @property
    def gateable(self) -> np.ndarray: ...
    @property
    def routed(self) -> bool: ...
    @property
    def own_layers(self) -> tuple[str, ...]: ...

    def forward(self, image: tf.Tensor, threshold: Any, plan: Plan) -> dict[str, tf.Tensor]:
        """Classifies images, each with the units that it selects.

        Args:
            image: float32 [batch, image_size, image_size, 3], pixels in 0..255; a batch of 1 where
                the plan has units gated.
            threshold: the knob's value, float32 [1] or [batch]; unused where nothing routes or the
                plan is fixed.

        Returns:
            `logits` and `probabilities`, float32 [batch, classes]; and where images choose,
            `selected`, float32 0 or 1 [batch, *units], and `flops`, float32 [batch], the
            multiply-accumulates of the selected units and the fixed part.
        """

    def facts(self, plan: Plan) -> dict[str, Any]:
        """Tells what model.json says of models of this family only, in JSON's types."""

    def map(self, change: Change) -> Self:
        """Returns the graph with `change(name, part)` in the place of every `Part`.

        Raises:
            UserError: the graph does not know its parts.
        """

    def undecided(
        self, own: dict[str, np.ndarray], scores: np.ndarray, threshold: float | None
    ) -> np.ndarray:
        """Finds, bool [batch, *units], the decisions within 1e-5 of the threshold.

        There rounding decides: another implementation may select other units.

        Args:
            own, scores: of the `Routing` that the Keras model gave, as arrays.
        """


#: How the models of a family are read, by its name.
READERS: dict[str, Callable[[Any], RoutedGraph]] = {"drnet": read_weights, "plain": WholeModel}
#: What is done to every graph that becomes a .tflite file, in this order.
PASSES: tuple[Callable[[Any], Any], ...] = (fill_vector_lanes,)


def read_graph(model: Any) -> RoutedGraph:
    """Reads the weights of a Keras model whose variables are all there; its channels stay.

    Raises:
        UserError: models of its family cannot be exported.
    """
    family = family_of(model.config).name
    if family not in READERS:
        raise UserError(f"models of the family {family} cannot be exported yet")
    return READERS[family](model)


def prepared(graph: RoutedGraph) -> RoutedGraph:
    """Applies all passes: what is done for the kernels of LiteRT."""
    for apply in PASSES:
        graph = apply(graph)
    return graph


def graph_of(model: Any) -> RoutedGraph:
    """Reads a model, as `read_graph` does, and applies all passes."""
    return prepared(read_graph(model))
