"""The graph of an exported DRNet: one image that skips branches, or a batch that masks them.

Accumulating inside of the IF, `sum + weight * branch(x)` or else `sum`, takes no tensor of zeros
and no addition for a branch that is skipped.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from drnet_tf.layers.branches import Pool, Skip, find_branch
from drnet_tf.layers.geometry import INPUTS_PER_NODE
from drnet_tf.layers.selection import select
from export.graphs import layers as folded_layers
from export.graphs.drnet.network import Cell, Network
from export.graphs.frozen_layer import freeze
from export.graphs.plan import DENSE, Structure

#: A logit whose weight is zero beside any other; infinity is not safe in float16.
_MASKED = -3e4


def forward(
    network: Network,
    structure: Structure,
    image: tf.Tensor,
    threshold: tf.Tensor | None,
    make_nodes: Callable[..., Nodes] | None = None,
) -> dict[str, tf.Tensor]:
    """Classifies images, each with the branches that it selects.

    Args:
        network: the weights.
        structure: what the graph holds and can skip.
        image: float32 [batch, image_size, image_size, 3], pixels in 0..255; a batch of 1 where
            the structure is gated.
        threshold: T of the selection, float32 [1] or [batch]; unused where the structure is fixed.
        make_nodes: a class in place of `Nodes`, to try another way to compute them.

    Returns:
        `logits` and `probabilities`, float32 [batch, classes]; `selected`, float32 0 or 1
        [batch, cells, connections, branches]; `flops`, float32 [batch], the multiply-accumulates
        of the selected branches and the fixed part, summed in integers and rounded once. Of a fixed
        structure, where the last two are the same for all images, the first two only.
    """
    return forward_with_recalibrated(network, structure, image, threshold, make_nodes)[0]


def forward_with_recalibrated(
    network: Network,
    structure: Structure,
    image: tf.Tensor,
    threshold: tf.Tensor | None,
    make_nodes: Callable[..., Nodes] | None = None,
) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
    """The same, and of each cell the weights from which it selects.

    Returns:
        What `forward` does; and the recalibrated weights, float32 [batch, connections, branches].
    """
    config = network.config
    scale = 1 / np.asarray(config.deviation, np.float64)
    x = (image - np.asarray(config.mean, np.float32)) * scale.astype(np.float32)
    if not structure.fixed:
        threshold = tf.reshape(threshold, [-1, 1, 1])
    before, previous = folded_layers.stem(x, network.stem)
    selections, recalibrated = [], []
    for index, cell in enumerate(network.cells):
        states = [
            folded_layers.preprocess(x, parts)
            for x, parts in zip((before, previous), cell.preprocess, strict=True)
        ]
        # The name by which a quantization recipe leaves the routing in float.
        with tf.name_scope("router"):
            weights, selected = _recalibrated(network, cell, states, structure.kept(index)), None
            recalibrated.append(weights)
            if not structure.fixed:
                selected, weights = select(weights, threshold)
        selections.append(selected)
        make = make_nodes or Nodes
        nodes = make(network, structure, index, states, selected, weights)
        before, previous = previous, nodes.output()
    logits = folded_layers.dense(tf.reduce_mean(previous, [1, 2]), network.classifier)
    outputs = {"logits": logits, "probabilities": tf.nn.softmax(logits)}
    if structure.fixed:
        return outputs, recalibrated
    with tf.name_scope("router"):
        selected = tf.stack(selections, axis=1)
        flops = _flops(network, selected)
    return outputs | {"selected": tf.cast(selected, tf.float32), "flops": flops}, recalibrated


def _recalibrated(network: Network, cell: Cell, states, kept: np.ndarray | None) -> tf.Tensor:
    """The recalibrated weights, float32 [batch, connections, branches].

    Args:
        kept: bool [connections, branches]; the weights of the others are zero, and those of the
            kept ones divided by their sum. None for all.
    """
    config = network.config
    if kept is None:
        kept = np.ones([config.connections, len(config.branches)], bool)
    if cell.router is None:
        batch = states[0].shape[0] or tf.shape(states[0])[0]
        uniform = kept / kept.sum(axis=-1, keepdims=True)
        return tf.tile(tf.constant(uniform[None], tf.float32), [batch, 1, 1])
    logits = tf.reshape(folded_layers.router_net(states, cell.router), [-1, *kept.shape])
    logits = logits / np.float32(network.temperature)
    if not kept.all():
        # Before the softmax: in it, kept weights could vanish beside one that is not kept.
        logits += np.where(kept, 0, _MASKED).astype(np.float32)
    return tf.nn.softmax(logits)


def _flops(network: Network, selected: tf.Tensor) -> tf.Tensor:
    # float32 holds integers up to 2**24 only: with a sum in float32 every addition would round.
    total = int(network.branch_macs.sum()) + network.fixed_macs
    integer = tf.int32 if total < 2**31 else tf.int64
    macs = tf.cast(selected, integer) * tf.constant(network.branch_macs, integer)
    macs = tf.reduce_sum(macs, axis=[1, 2, 3]) + tf.constant(network.fixed_macs, integer)
    return tf.cast(macs, tf.float32)


class Nodes:
    """The nodes of one cell.

    Args:
        network, structure: as in `forward`.
        index: of the cell.
        states: the two preprocessed inputs; the nodes are appended.
        selected, weights: [batch, connections, branches]; `selected` is read where the structure
            is gated.
    """

    def __init__(
        self, network: Network, structure: Structure, index: int, states, selected, weights
    ):
        self.config = network.config
        self.structure = structure
        self.index = index
        self.cell = network.cells[index]
        self.states = list(states)
        self.branches = [find_branch(name) for name in self.config.branches]
        pairs = self.config.connections * len(self.branches)
        self.weights = tf.unstack(tf.reshape(weights, [-1, pairs, 1, 1, 1]), axis=1)
        self.selected = tf.unstack(tf.reshape(selected, [-1])) if structure.gated else []
        #: What connections that read the same node share, by what it is and the node.
        self.shared: dict[tuple, tf.Tensor] = {}

    def output(self) -> tf.Tensor:
        """The concatenation of the nodes."""
        for node in range(self.config.nodes):
            self.states.append(self.node(node))
        return tf.concat(self.states[INPUTS_PER_NODE:], axis=-1)

    def pairs(self, node: int) -> list[tuple[int, int]]:
        """The connections to a node and their branches, of those that the graph holds."""
        pairs = [
            (node * INPUTS_PER_NODE + i, branch)
            for i in range(INPUTS_PER_NODE)
            for branch in range(len(self.branches))
        ]
        return [pair for pair in pairs if self.structure.holds(self.index, *pair)]

    def source(self, connection: int) -> int:
        """The index of the state that a connection reads."""
        return self.config.node_inputs[connection // INPUTS_PER_NODE][connection % INPUTS_PER_NODE]

    def node(self, node: int) -> tf.Tensor:
        """The weighted sum of the branches of the connections to a node."""
        pairs = self.pairs(node)
        # What always runs goes first, so that the IFs find a sum to add to.
        pairs.sort(key=lambda pair: self.structure.skips(self.index, *pair))
        total = None
        for connection, branch in pairs:
            position = connection * len(self.branches) + branch
            skips = self.structure.skips(self.index, connection, branch)
            run = self.branch(connection, branch, alone=skips)
            weight = self.weights[position]
            if skips:
                if total is None:
                    total = tf.zeros(self._node_shape())
                total = _add_if(self.selected[position], total, run, weight)
            else:
                term = run() * weight
                total = term if total is None else total + term
        return total

    def _node_shape(self) -> list[int]:
        geometry = self.cell.geometry
        return [1, geometry.output_size, geometry.output_size, geometry.channels]

    def branch(self, connection: int, branch: int, alone: bool = False) -> Callable[[], tf.Tensor]:
        """What computes a branch; its ReLU, which it shares with others, is computed here.

        Args:
            alone: whether it runs inside of an IF, where no other can use what it computes.
        """
        source = self.source(connection)
        state, stride = self.states[source], self.cell.geometry.stride(source)
        key = (connection, branch)
        if key in self.cell.separable:
            rectified = self.share(("relu", source), lambda: tf.nn.relu(state))
            weights = self.cell.separable[key]
            return lambda: folded_layers.separable_conv(rectified, weights, stride)
        if key in self.cell.layers:
            frozen = freeze(self.cell.layers[key], state.shape)
            return lambda: frozen(state)
        parameter_free = self.branches[branch]
        assert isinstance(parameter_free, Pool | Skip)
        apply = parameter_free.apply
        if isinstance(parameter_free, Skip) and stride > 1:
            apply = folded_layers.every_nth_pixel
        if alone:
            return lambda: apply(state, stride)
        return lambda: self.share((branch, source), lambda: apply(state, stride))

    def share(self, key: tuple, make: Callable[[], tf.Tensor]) -> tf.Tensor:
        """What `make` makes, once for each key."""
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]


def branch_alone(network: Network, cell: int, connection: int, branch: int, state) -> tf.Tensor:
    """The output of one branch, without its weight, for a node [1, height, width, channels]."""
    weights = tf.zeros(network.branch_macs.shape[1:])
    states = [state] * (INPUTS_PER_NODE + network.config.nodes)
    return Nodes(network, DENSE, cell, states, weights, weights).branch(connection, branch)()


def _add_if(selected, total, run, weight) -> tf.Tensor:
    return tf.cond(selected, lambda: total + run() * weight, lambda: tf.identity(total))
