"""The weights of a network by name, and which of them are compressed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from export.graphs.drnet.network import Cell, Network, Router
from export.graphs.parts import Conv, DepthwisePointwise


def change_weights(
    network: Network,
    conv: Callable[[Conv], Conv],
    depthwise: Callable[[DepthwisePointwise], DepthwisePointwise],
) -> Network:
    """The network with other convolutions, but for the routers and the layers of a user.

    Args:
        conv: called with each convolution that is not depthwise.
        depthwise: called with each depthwise one and the pointwise one behind it, which `conv`
            has changed already.
    """

    def separable(parts):
        return tuple(
            depthwise(dataclasses.replace(part, pointwise=conv(part.pointwise))) for part in parts
        )

    def every(parts):
        return tuple(conv(part) for part in parts)

    cells = [
        dataclasses.replace(
            cell,
            preprocess=(every(cell.preprocess[0]), every(cell.preprocess[1])),
            separable={key: separable(parts) for key, parts in cell.separable.items()},
        )
        for cell in network.cells
    ]
    return dataclasses.replace(network, stem=every(network.stem), cells=tuple(cells))


#: Called with the name of some weights and the weights; see `map_weights`.
Convert = Callable[[str, Any], Any]
#: Parts of names.
DEPTHWISE, ROUTER = "_depthwise", "_router"


def is_compressed(name: str) -> bool:
    """Whether the kernel of that name is one to compress: no depthwise one, none of a router.

    A depthwise filter has 9 or 25 weights, each of which alone connects two pixels of its channel:
    tensorflow-model-optimization leaves them as they are, too. What a router selects jumps where
    its weights change by little, and its balance of accuracy and cost is not what is fine-tuned.
    """
    return not name.endswith(DEPTHWISE) and ROUTER not in name


def map_weights(network: Network, convert: Convert) -> Network:
    """The network with `convert(name, weights)` in the place of all weights.

    Args:
        convert: called with each `Conv`, each `Dense` and each depthwise kernel, and a name that is
            unique in the network; its results are of the same type.
    """

    def both(name: str, weights: DepthwisePointwise) -> DepthwisePointwise:
        return DepthwisePointwise(
            convert(f"{name}{DEPTHWISE}", weights.depthwise),
            convert(f"{name}_pointwise", weights.pointwise),
        )

    def parts(name: str, convs: tuple[Conv, ...]) -> tuple[Conv, ...]:
        return tuple(convert(f"{name}_{i}", conv) for i, conv in enumerate(convs))

    def in_cell(name: str, cell: Cell) -> Cell:
        first, second = (parts(f"{name}_input_{i}", p) for i, p in enumerate(cell.preprocess))
        router = None
        if cell.router is not None:
            prefix = f"{name}{ROUTER}"
            router = Router(
                tuple(both(f"{prefix}_{i}", block) for i, block in enumerate(cell.router.blocks)),
                convert(f"{prefix}_dense", cell.router.dense),
            )
        separable = {
            key: tuple(both(separable_name(name, key, i), one) for i, one in enumerate(weights))
            for key, weights in cell.separable.items()
        }
        return dataclasses.replace(
            cell, preprocess=(first, second), router=router, separable=separable
        )

    return dataclasses.replace(
        network,
        stem=parts("stem", network.stem),
        cells=tuple(in_cell(f"cell_{i}", cell) for i, cell in enumerate(network.cells)),
        classifier=convert("classifier", network.classifier),
    )


def separable_name(cell: str, key: tuple[int, int], application: int) -> str:
    return f"{cell}_connection_{key[0]}_branch_{key[1]}_{application}"
