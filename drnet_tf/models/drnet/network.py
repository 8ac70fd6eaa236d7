"""DRNet: cells in a row, each routing every image on its own (Sec. 3)."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from drnet_tf.layers.cell import Cell
from drnet_tf.layers.heads import AuxiliaryHead, Classifier
from drnet_tf.layers.selection import mass_before
from drnet_tf.layers.stem import CifarStem, ImageNetStem
from drnet_tf.models.cost import expected_resource
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.drnet.cost import cost_table
from drnet_tf.models.family import Routing

STEM_LAYERS: dict[str, type[keras.layers.Layer]] = {"cifar": CifarStem, "imagenet": ImageNetStem}
AUXILIARY_STRIDES = {"cifar": 3, "imagenet": 2}
INITIAL_TEMPERATURE = 3.0


@keras.saving.register_keras_serializable(package="drnet_tf")
class DRNet(keras.Model):
    """Classifies images, each with the branches that are selected for it.

    The temperature of the recalibration is a weight of the model (`temperature`, not trained): it
    is part of the function that a checkpoint stands for.

    Args:
        config: the architecture, a `DRNetConfig` or its dictionary.
        seed: of noise and drops in training.

    Call arguments:
        images: float [batch, image_size, image_size, 3], pixels in 0..255; the model normalizes.
        threshold: T of the selection, a scalar or [batch]; None runs all branches.
        connection_rate, branch_rate: drop rates, scalars, used in training only.
        training: as everywhere in Keras.

    Returns:
        logits: float32 [batch, classes].
        routing: a `Routing` with units [cells, connections, branches], whose scores are the sums
            of the weights ranked before each branch. `own` has `router_logits` and `recalibrated`
            [batch, *units], `expected_macs` (E[R] of Eq. 8 in MACs) [batch], and
            `auxiliary_logits` [batch, classes].
    """

    def __init__(self, config: DRNetConfig | dict, seed: int | None = None, **kwargs):
        # Keras would cast images and threshold to the compute type, and round them.
        super().__init__(autocast=False, **kwargs)
        if not isinstance(config, DRNetConfig):
            config = DRNetConfig.from_dict(config)
        self.config: DRNetConfig = config
        self.seed = seed
        policy = self.dtype_policy
        self.cost = cost_table(config)
        seeds: list[int | None] = [None] * config.cells
        if seed is not None:
            seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(config.cells)]
        self.stem = STEM_LAYERS[config.stem](config.channels, name="stem", dtype=policy)
        self.cells = [
            Cell(
                geometry,
                config.node_inputs,
                config.branches,
                config.router,
                config.recalibration,
                seed=seeds[index],
                name=f"cell_{index}",
                dtype=policy,
            )
            for index, geometry in enumerate(config.cell_geometry)
        ]
        self.classifier = Classifier(config.classes, name="classifier", dtype=policy)
        self.auxiliary = AuxiliaryHead(
            config.classes, AUXILIARY_STRIDES[config.stem], name="auxiliary", dtype=policy
        )
        self.temperature = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(INITIAL_TEMPERATURE),
            trainable=False,
            autocast=False,
            dtype="float32",
            name="temperature",
        )

    @property
    def controls(self):
        """Returns what the schedule sets at every step."""
        return {"temperature": self.temperature}

    def build(self, input_shape=None):
        config, last = self.config, self.config.cell_geometry[-1]
        middle = config.cell_geometry[config.auxiliary_cell]
        self.stem.build((None, config.image_size, config.image_size, 3))
        for cell in self.cells:
            cell.build()
        for head, geometry in ((self.classifier, last), (self.auxiliary, middle)):
            size = geometry.output_size
            head.build((None, size, size, config.nodes * geometry.channels))

    def call(self, images, threshold=None, connection_rate=0.0, branch_rate=0.0, training=False):
        x = ops.cast(self.config.normalized(images), self.compute_dtype)
        if threshold is not None:
            threshold = ops.reshape(ops.cast(threshold, "float32"), (-1, 1, 1))
        before, previous = self.stem(x, training=training)
        routings, auxiliary_logits = [], None
        for index, cell in enumerate(self.cells):
            output, routing = cell(
                (before, previous),
                temperature=self.temperature,
                threshold=threshold,
                connection_rate=connection_rate,
                branch_rate=branch_rate,
                training=training,
            )
            before, previous = previous, output
            routings.append(routing)
            if index == self.config.auxiliary_cell:
                auxiliary_logits = self.auxiliary(output, training=training)
        stacked = {
            name: ops.stack([routing[name] for routing in routings], axis=1)
            for name in ("router_logits", "recalibrated", "selected")
        }
        macs, fixed = self.cost.unit_macs, self.cost.fixed.macs
        selected, recalibrated = stacked["selected"], stacked["recalibrated"]
        routing = Routing(
            selected=selected,
            scores=mass_before(recalibrated),
            macs=expected_resource(ops.cast(selected, "float32"), macs, fixed),
            own={
                "router_logits": stacked["router_logits"],
                "recalibrated": recalibrated,
                "expected_macs": expected_resource(recalibrated, macs, fixed),
                "auxiliary_logits": auxiliary_logits,
            },
        )
        return self.classifier(previous), routing

    def get_config(self):
        return {**super().get_config(), "config": self.config.to_dict(), "seed": self.seed}
