"""A cell: nodes joined by routed connections, and the RouterNet that weighs them (Sec. 3.1)."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from drnet_tf.layers.branches import LayerBranch, SeparableConv, find_branch
from drnet_tf.layers.dropping import DropRouting
from drnet_tf.layers.geometry import INPUTS_PER_NODE, CellGeometry
from drnet_tf.layers.gumbel_softmax import Recalibration
from drnet_tf.layers.preprocess import Preprocess
from drnet_tf.layers.routed_connection import sum_with_offsets, weighted_sum
from drnet_tf.layers.router_net import RouterNet
from drnet_tf.layers.selection import select
from drnet_tf.layers.separable_conv import SeparableConvs


@keras.saving.register_keras_serializable(package="drnet_tf")
class Cell(keras.layers.Layer):
    """Runs one cell: preprocesses both inputs, routes every connection, concatenates the nodes.

    Args:
        geometry: shapes of the cell, a `CellGeometry` or its dictionary.
        node_inputs: for each node the two indices it reads; see `DRNetConfig`.
        branches: names of the branches of each connection.
        router, recalibration: see `DRNetConfig`.
        seed: of noise and drops.

    Call arguments:
        inputs: the outputs of the cell before the previous one and of the previous one, float
            [batch, height, width, channels] each.
        temperature: tau of the recalibration, a scalar.
        threshold: T of the selection, broadcastable to [batch, connections, branches], or None
            for all branches.
        connection_rate, branch_rate: of `DropRouting`, in training only.
        training: as everywhere in Keras.

    Returns:
        The output, float [batch, height, width, nodes * channels], and a dictionary of
        [batch, connections, branches]: `router_logits`, `recalibrated`, `selected`.
    """

    def __init__(
        self,
        geometry: CellGeometry | dict[str, Any],
        node_inputs,
        branches,
        router: str = "routernet",
        recalibration: str = "gumbel_softmax",
        seed: int | None = None,
        **kwargs,
    ):
        # Keras would cast temperature and threshold to the compute type, and round them.
        super().__init__(autocast=False, **kwargs)
        policy = self.dtype_policy
        if not isinstance(geometry, CellGeometry):
            geometry = CellGeometry.from_dict(geometry)
        self.geometry: CellGeometry = geometry
        self.seed = seed
        self.node_inputs = tuple(tuple(pair) for pair in node_inputs)
        self.branch_names = tuple(branches)
        self.preprocess = [
            Preprocess(geometry.channels, factorized, name=f"preprocess_{i}", dtype=policy)
            for i, factorized in enumerate((geometry.factorized, False))
        ]
        self.router = None
        if router == "routernet":
            connections = len(self.node_inputs) * INPUTS_PER_NODE
            self.router = RouterNet(
                connections, len(self.branch_names), name="router_net", dtype=policy
            )
        self.kind = recalibration
        # Without a router there is nothing to recalibrate: the weights are uniform.
        kind = recalibration if self.router else "none"
        self.recalibration = Recalibration(kind, seed, name="recalibration", dtype="float32")
        # A seed of its own: with the same one, noise and drops would be the same numbers.
        drop_seed = None if seed is None else seed + 1
        self.drop_routing = DropRouting(drop_seed, name="drop_routing", dtype="float32")
        self.branches = [find_branch(name) for name in self.branch_names]
        self.connections = [
            (node, source) for node, pair in enumerate(self.node_inputs) for source in pair
        ]
        self._make_separable_convs(policy)
        self._make_layer_branches(policy)

    def _make_separable_convs(self, policy):
        """Groups the separable convolutions that can run together: by what they wait for."""
        members: dict[int, list[tuple[int, int]]] = {}
        for connection, (_, source) in enumerate(self.connections):
            for index, branch in enumerate(self.branches):
                if isinstance(branch, SeparableConv):
                    # Both inputs of the cell are there from the start: they are one group.
                    group = max(source, INPUTS_PER_NODE - 1)
                    members.setdefault(group, []).append((connection, index))
        #: By the last source that the group waits for, its (connection, branch) pairs.
        self.separable_members = members
        self.separable_convs = {
            str(group): SeparableConvs(
                [self.branches[index].kernel_size for _, index in pairs],
                [self.geometry.stride(self.connections[c][1]) for c, _ in pairs],
                name=f"separable_convs_{group}",
                dtype=policy,
            )
            for group, pairs in members.items()
        }

    def _make_layer_branches(self, policy):
        self.layer_branches = {
            f"{connection}_{self.branch_names[index]}": branch.make_layer(
                self.geometry.channels, self.geometry.stride(source)
            )
            for connection, (_, source) in enumerate(self.connections)
            for index, branch in enumerate(self.branches)
            if isinstance(branch, LayerBranch)
        }

    def build(self, input_shape=None):
        # From the geometry rather than by a symbolic call: thousands of small layers take long.
        geometry = self.geometry
        for i, preprocess in enumerate(self.preprocess):
            size, channels = geometry.input_sizes[i], geometry.input_channels[i]
            preprocess.build((None, size, size, channels))
        if self.router is not None:
            self.router.build((None, geometry.size, geometry.size, 2 * geometry.channels))
        routing_shape = (None, len(self.connections), len(self.branches))
        self.recalibration.build(routing_shape)
        self.drop_routing.build(routing_shape)
        for group, convs in self.separable_convs.items():
            convs.build(self._node_shape(int(group)))
        for key, layer in self.layer_branches.items():
            layer.build(self._node_shape(self.connections[int(key.split("_")[0])][1]))

    def _node_shape(self, index):
        geometry = self.geometry
        size = geometry.height(index)
        return (None, size, size, geometry.channels)

    def call(
        self,
        inputs,
        temperature=1.0,
        threshold=None,
        connection_rate=0.0,
        branch_rate=0.0,
        training=False,
    ):
        states = [
            preprocess(x, training=training)
            for preprocess, x in zip(self.preprocess, inputs, strict=True)
        ]
        routing = self._route(
            states, temperature, threshold, connection_rate, branch_rate, training
        )
        used = ops.reshape(routing.pop("used"), (-1, len(self.connections) * len(self.branches)))
        weights = ops.split(used, used.shape[1], axis=1)
        outputs: dict[tuple, Any] = {}
        for node in range(len(self.node_inputs)):
            latest = node + INPUTS_PER_NODE - 1
            self._run_separable_convs(latest, states, weights, outputs, training)
            states.append(self._node(node, states, weights, outputs, training))
        return ops.concatenate(states[INPUTS_PER_NODE:], axis=-1), routing

    def _run_separable_convs(self, group, states, weights, outputs, training):
        """Adds the weighted outputs of a group by (connection, branch)."""
        pairs = self.separable_members.get(group, ())
        if not pairs:
            return
        sources = [self.connections[connection][1] for connection, _ in pairs]
        rectified = {source: ops.relu(states[source]) for source in set(sources)}
        results, offsets = self.separable_convs[str(group)](
            [rectified[source] for source in sources],
            ops.concatenate([weights[self._position(*pair)] for pair in pairs], axis=1),
            training=training,
        )
        for pair, *output in zip(pairs, results, ops.unstack(offsets, axis=1), strict=True):
            outputs[pair] = output

    def _node(self, node, states, weights, outputs, training):
        """Sums over the weighted branches of the connections that lead to a node."""
        images, offsets, branches, columns = [], [], [], []
        for connection, (target, source) in enumerate(self.connections):
            if target != node:
                continue
            for index, branch in enumerate(self.branches):
                if isinstance(branch, SeparableConv):
                    image, offset = outputs[connection, index]
                    images.append(image)
                    offsets.append(offset)
                else:
                    branches.append(
                        self._branch_output(connection, index, source, states, outputs, training)
                    )
                    columns.append(weights[self._position(connection, index)])
        if branches:
            images.append(weighted_sum(branches, columns))
        return sum_with_offsets(images, offsets)

    def _position(self, connection, index):
        return connection * len(self.branches) + index

    def _branch_output(self, connection, index, source, states, outputs, training):
        branch = self.branches[index]
        if isinstance(branch, LayerBranch):
            layer = self.layer_branches[f"{connection}_{self.branch_names[index]}"]
            return ops.cast(layer(states[source], training=training), self.compute_dtype)
        # Without parameters: the same for all connections that read this node.
        key = (f"source_{source}", index)
        if key not in outputs:
            outputs[key] = branch.apply(states[source], self.geometry.stride(source))
        return outputs[key]

    def _route(self, states, temperature, threshold, connection_rate, branch_rate, training):
        if self.router is None:
            shape = (ops.shape(states[0])[0], len(self.connections), len(self.branches))
            logits = ops.zeros(shape, "float32")
        else:
            logits = self.router(ops.concatenate(states, axis=-1), training=training)
        recalibrated = self.recalibration(logits, temperature=temperature, training=training)
        if threshold is None:
            selected, used = ops.ones_like(recalibrated, dtype="bool"), recalibrated
        else:
            selected, used = select(recalibrated, threshold)
        if training:
            used = self.drop_routing(used, connection_rate=connection_rate, branch_rate=branch_rate)
        return {
            "router_logits": logits,
            "recalibrated": recalibrated,
            "selected": selected,
            "used": used,
        }

    def get_config(self):
        return {
            **super().get_config(),
            "geometry": dataclasses.asdict(self.geometry),
            "node_inputs": [list(pair) for pair in self.node_inputs],
            "branches": list(self.branch_names),
            "router": "none" if self.router is None else "routernet",
            "recalibration": self.kind,
            "seed": self.seed,
        }
