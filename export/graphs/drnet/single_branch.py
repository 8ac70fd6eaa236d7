"""Graphs of single branches, and how long they take on this machine.

LiteRT, one thread, one image, CPU time. Each graph holds what a branch adds to its node: its ReLU,
the branch, its weight and the addition.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from drnet_tf.layers.branches import output_size
from drnet_tf.models.drnet.architecture import DRNetConfig
from export.graphs.drnet.network import Network
from export.graphs.drnet.nodes import branch_alone

#: Name of the branch, channels, stride, height of its input.
Geometry = tuple[str, int, int, int]
#: Indices of a cell, a connection and a branch.
Place = tuple[int, int, int]


def geometries(config: DRNetConfig) -> dict[Place, Geometry]:
    """Finds the geometry of every branch."""
    return {
        (i, j, k): (name, cell.channels, cell.stride(source), cell.height(source))
        for i, cell in enumerate(config.cell_geometry)
        for j, source in enumerate(config.sources)
        for k, name in enumerate(config.branches)
    }


def first_places(config: DRNetConfig) -> dict[Geometry, Place]:
    """Finds every geometry of a network once, with a place where it occurs."""
    places: dict[Geometry, Place] = {}
    for place, geometry in geometries(config).items():
        places.setdefault(geometry, place)
    return places


def geometry_cells(geometry: Geometry) -> dict[str, str]:
    """Returns how tables show a geometry, by column."""
    return dict(zip(("branch", "channels", "stride", "height"), map(str, geometry), strict=True))


def next_to_nothing() -> bytes:
    """Converts a single addition, whose time is that of an invocation as such."""
    return _convert(lambda x: x + 1.0, [tf.TensorSpec((1, 1, 1, 1))])


def always(network: Network, place: Place) -> bytes:
    """Converts a graph that adds a branch, times its weight, to a node."""
    return _convert(
        lambda x, weight, total: total + branch_alone(network, *place, x) * weight,
        _inputs(network, place),
    )


def in_an_if(network: Network, place: Place) -> bytes:
    """Converts the same in an IF, taken where the input `selected` says so."""

    def call(x, weight, total, selected):
        return tf.cond(
            tf.reshape(selected, []),
            lambda: total + branch_alone(network, *place, x) * weight,
            lambda: tf.identity(total),
        )

    return _convert(call, [*_inputs(network, place), tf.TensorSpec((1,), tf.bool)])


def _inputs(network: Network, place: Place) -> list[tf.TensorSpec]:
    cell, connection, _ = place
    geometry = network.cells[cell].geometry
    source = network.config.sources[connection]
    size = geometry.height(source)
    height = output_size(size, geometry.stride(source))
    channels = geometry.channels
    shapes = [(1, size, size, channels), (1, 1, 1, 1), (1, height, height, channels)]
    return [tf.TensorSpec(shape) for shape in shapes]


def _convert(function: Callable[..., tf.Tensor], signature: list[tf.TensorSpec]) -> bytes:
    module = tf.Module()
    traced = tf.function(function, autograph=False, input_signature=signature)
    module.call = traced.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([module.call], module).convert()
