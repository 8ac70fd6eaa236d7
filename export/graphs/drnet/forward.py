"""The graph of an exported DRNet: one image that skips branches, or a batch that masks them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from drnet_tf.layers.branches import find_branch, is_parameter_free
from drnet_tf.layers.selection import select
from export.graphs import layers as folded_layers
from export.graphs.drnet.borderline import borderline
from export.graphs.drnet.network import Cell, Network
from export.graphs.drnet.nodes import Nodes
from export.graphs.in_float import ROUTER
from export.graphs.plan import Plan

#: A logit whose weight is zero beside any other; infinity is not safe in float16.
_MASKED = -3e4


@dataclasses.dataclass(frozen=True, eq=False)
class DRNetGraph(Network):
    """Makes a network a `RoutedGraph`; its units are cells, connections and branches."""

    routed = True
    unit_names = ("cell", "connection", "branch")

    @property
    def units(self) -> tuple[int, ...]:
        return self.cost.units

    @property
    def gateable(self) -> np.ndarray:
        """Returns, bool [*units], the branches that have parameters.

        Pools and skips always run: most of them cost less than their IF would.
        export/convert/gate_choice.py measures which do not.
        """
        parametric = [not is_parameter_free(find_branch(name)) for name in self.config.branches]
        return np.broadcast_to(parametric, self.units)

    @property
    def own_layers(self) -> tuple[str, ...]:
        pairs = [pair for cell in self.cells for pair in cell.layers]
        return tuple(sorted({self.config.branches[branch] for _, branch in pairs}))

    def facts(self, plan: Plan) -> dict[str, Any]:
        """Tells what clients know a DRNet by; see `RoutedGraph`."""
        gated = np.zeros(self.units, bool) if plan.gated is None else plan.gated
        anywhere = np.asarray(gated.any(axis=(0, 1))).tolist()
        names = zip(self.config.branches, anywhere, strict=True)
        return {
            "branch_names": list(self.config.branches),
            "gated_branches": [name for name, skipped in names if skipped],
            "cells": self.config.cells,
            "connections": self.config.connections,
            "temperature": self.temperature,
        }

    def undecided(
        self, own: dict[str, np.ndarray], scores: np.ndarray, threshold: float | None
    ) -> np.ndarray:
        """Finds decisions within rounding of the threshold; see `RoutedGraph`."""
        assert threshold is not None
        return borderline(own["recalibrated"], threshold)

    def forward(self, image: tf.Tensor, threshold, plan: Plan) -> dict[str, tf.Tensor]:
        """Classifies images; see `RoutedGraph`."""
        return self.forward_and_route(image, threshold, plan)[0]

    def forward_and_route(
        self, image: tf.Tensor, threshold, plan: Plan
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        """Classifies images, and says of each cell what it selects from.

        Returns:
            What `forward` does; and the recalibrated weights, float32 [batch, connections,
            branches] of each cell.
        """
        config = self.config
        scale = 1 / np.asarray(config.deviation, np.float64)
        x = (image - np.asarray(config.mean, np.float32)) * scale.astype(np.float32)
        if not plan.fixed:
            threshold = tf.reshape(threshold, [-1, 1, 1])
        before, previous = folded_layers.stem(x, self.stem)
        selections, recalibrated = [], []
        for index, cell in enumerate(self.cells):
            states = [
                folded_layers.preprocess(x, parts)
                for x, parts in zip((before, previous), cell.preprocess, strict=True)
            ]
            with tf.name_scope(ROUTER):
                weights, selected = self._recalibrated(cell, states, plan.kept(index)), None
                recalibrated.append(weights)
                if not plan.fixed:
                    selected, weights = select(weights, threshold)
            selections.append(selected)
            before, previous = previous, self.nodes(plan, index, states, selected, weights)
        logits = folded_layers.dense(tf.reduce_mean(previous, [1, 2]), self.classifier)
        outputs = {"logits": logits, "probabilities": tf.nn.softmax(logits)}
        if plan.fixed:
            return outputs, recalibrated
        with tf.name_scope(ROUTER):
            selected = tf.stack(selections, axis=1)
            flops = self._flops(selected)
        return outputs | {"selected": tf.cast(selected, tf.float32), "flops": flops}, recalibrated

    def nodes(self, plan: Plan, index: int, states, selected, weights) -> tf.Tensor:
        """Computes the output of a cell from its preprocessed inputs; see `Nodes`."""
        return Nodes(self, plan, index, states, selected, weights).output()

    def _recalibrated(self, cell: Cell, states, kept: np.ndarray | None) -> tf.Tensor:
        """Computes the recalibrated weights, float32 [batch, connections, branches].

        Args:
            kept: bool [connections, branches]; the weights of the others are zero, and those of
                the kept ones divided by their sum. None for all.
        """
        if kept is None:
            kept = np.ones(self.units[1:], bool)
        if cell.router is None:
            batch = states[0].shape[0] or tf.shape(states[0])[0]
            uniform = kept / kept.sum(axis=-1, keepdims=True)
            return tf.tile(tf.constant(uniform[None], tf.float32), [batch, 1, 1])
        logits = tf.reshape(folded_layers.router_net(states, cell.router), [-1, *kept.shape])
        logits = logits / np.float32(self.temperature)
        if not kept.all():
            # Before the softmax: in it, kept weights could vanish beside one that is not kept.
            logits += np.where(kept, 0, _MASKED).astype(np.float32)
        return tf.nn.softmax(logits)

    def _flops(self, selected: tf.Tensor) -> tf.Tensor:
        # float32 holds integers up to 2**24 only: with a sum in float32 every addition would
        # round. Summed in integers, it is rounded once.
        integer = tf.int32 if self.cost.total.macs < 2**31 else tf.int64
        macs = tf.cast(selected, integer) * tf.constant(self.cost.unit_macs, integer)
        macs = tf.reduce_sum(macs, axis=[1, 2, 3]) + tf.constant(self.cost.fixed.macs, integer)
        return tf.cast(macs, tf.float32)
