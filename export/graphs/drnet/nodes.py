"""The nodes of a cell: weighted sums of branches, those of an image that skips some in IFs.

Accumulating inside of the IF, `sum + weight * branch(x)` or else `sum`, takes no tensor of zeros
and no addition for a branch that is skipped.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from drnet_tf.layers.branches import Pool, Skip, find_branch
from drnet_tf.layers.geometry import INPUTS_PER_NODE
from export.graphs import layers as folded_layers
from export.graphs.drnet.network import Network, Pair
from export.graphs.frozen_layer import freeze
from export.graphs.plan import DENSE, Plan


class Nodes:
    """Computes the nodes of one cell.

    Args:
        network: the weights.
        plan: what the graph holds and can skip.
        index: of the cell.
        states: the two preprocessed inputs; the nodes are appended.
        selected, weights: [batch, connections, branches]; `selected` is read where the plan
            has branches gated.
    """

    def __init__(self, network: Network, plan: Plan, index: int, states, selected, weights):
        self.config = network.config
        self.plan = plan
        self.index = index
        self.cell = network.cells[index]
        self.states = list(states)
        self.branches = [find_branch(name) for name in self.config.branches]
        pairs = self.config.connections * len(self.branches)
        self.weights = tf.unstack(tf.reshape(weights, [-1, pairs, 1, 1, 1]), axis=1)
        self.selected = tf.unstack(tf.reshape(selected, [-1])) if plan.any_gated else []
        #: What connections that read the same node share, by what it is and the node.
        self.shared: dict[tuple, tf.Tensor] = {}

    def output(self) -> tf.Tensor:
        """Concatenates the nodes."""
        for node in range(self.config.nodes):
            self.states.append(self.node(node))
        return tf.concat(self.states[INPUTS_PER_NODE:], axis=-1)

    def pairs(self, node: int) -> list[Pair]:
        """Lists the connections to a node and their branches, of those that the graph holds."""
        pairs = [
            (node * INPUTS_PER_NODE + i, branch)
            for i in range(INPUTS_PER_NODE)
            for branch in range(len(self.branches))
        ]
        return [pair for pair in pairs if self.plan.holds(self.index, *pair)]

    def node(self, node: int) -> tf.Tensor:
        """Sums the weighted branches of the connections to a node."""
        pairs = self.pairs(node)
        # What always runs goes first, so that the IFs find a sum to add to.
        pairs.sort(key=lambda pair: self.plan.skips(self.index, *pair))
        total = None
        for connection, branch in pairs:
            position = connection * len(self.branches) + branch
            skips = self.plan.skips(self.index, connection, branch)
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
        """Returns what computes a branch; its ReLU, which others share, is computed here.

        Args:
            alone: whether it runs inside of an IF, where no other can use what it computes.
        """
        source = self.config.sources[connection]
        state, stride = self.states[source], self.cell.geometry.stride(source)
        key = (connection, branch)
        if key in self.cell.separable:
            rectified = self.share(("relu", source), lambda: tf.nn.relu(state))
            weights = self.cell.separable[key]
            return lambda: folded_layers.separable_conv(rectified, weights, stride)
        if key in self.cell.layers:
            layer = self.cell.layers[key]
            frozen = freeze(lambda x: layer(x, training=False), state.shape)
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
        """Returns what `make` makes, once for each key."""
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]


def branch_alone(network: Network, cell: int, connection: int, branch: int, state) -> tf.Tensor:
    """Computes one branch, without its weight, of a node [1, height, width, channels]."""
    weights = tf.zeros(network.cost.units[1:])
    states = [state] * (INPUTS_PER_NODE + network.config.nodes)
    return Nodes(network, DENSE, cell, states, weights, weights).branch(connection, branch)()


def _add_if(selected, total, run, weight) -> tf.Tensor:
    return tf.cond(selected, lambda: total + run() * weight, lambda: tf.identity(total))
