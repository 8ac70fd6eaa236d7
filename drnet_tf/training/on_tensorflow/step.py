"""One training step on TensorFlow: a GradientTape in one tf.function, under tf.distribute."""

from __future__ import annotations

import functools

import tensorflow as tf

from drnet_tf.layers.devices import Devices, adapt_to
from drnet_tf.models.family import Objective
from drnet_tf.models.schedules import Optimization, StepValues
from drnet_tf.training.descent import clip_and_decay
from drnet_tf.training.feeds import Feed
from drnet_tf.training.on_tensorflow.depthwise import depthwise_conv
from drnet_tf.training.step import Step

#: Graph rewrites that lengthen the first step and make no later one faster: the graph has no layout
#: to choose, nothing to fuse that oneDNN does not, and no loop.
UNUSED_REWRITES = (
    "dependency_optimization",
    "function_optimization",
    "implementation_selector",
    "layout_optimizer",
    "loop_optimization",
    "remapping",
    "scoped_allocator_optimization",
    "shape_optimization",
)


class TrainingStep(Step):
    """Trains a model by one batch at a time; the variables of model and optimizer are the state.

    Args:
        model, recipe, objective, feed: see `Step`.
        strategy: a tf.distribute strategy; None is the one in scope.
    """

    def __init__(
        self,
        model,
        recipe: Optimization,
        objective: Objective,
        feed: Feed,
        strategy: tf.distribute.Strategy | None = None,
    ):
        self.strategy = strategy or tf.distribute.get_strategy()
        with self.strategy.scope():
            super().__init__(model, recipe, objective, feed)
        self.arrays = tuple(tf.constant(array) for array in feed.arrays)
        several = self.strategy.num_replicas_in_sync > 1
        accelerated = any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
        devices = Devices(
            synchronized=several,
            fold_seed=_fold_in_replica if several else None,
            depthwise_conv=None if accelerated else depthwise_conv,
        )
        adapt_to(self.model, devices)
        tf.config.optimizer.set_experimental_options(dict.fromkeys(UNUSED_REWRITES, False))
        # AutoGraph would rewrite all of Keras and make tracing ten times slower.
        self._compiled = tf.function(self._distributed, autograph=False)

    def __call__(
        self, batch: tuple, values: StepValues, stop: bool = False
    ) -> dict[str, tf.Tensor]:
        self.optimizer.learning_rate = values.learning_rate
        for name, variable in self.model.controls.items():
            variable.assign(values.scalars[name])
        return self._compiled(*self._inputs(batch, values, stop))

    def trace(self, batch: tuple, values: StepValues) -> tf.types.experimental.ConcreteFunction:
        """Makes the graph of a step, which a later call does not trace again; does no step."""
        return self._compiled.get_concrete_function(*self._inputs(batch, values, False))

    def _inputs(self, batch, values, stop):
        batch = tuple(
            self._spread(part) if per_image else tf.convert_to_tensor(part)
            for part, per_image in zip(batch, self.feed.per_image, strict=True)
        )
        scalars = tf.constant([stop, *values.scalars.values()], tf.float32)
        return batch, scalars, tuple(values.scalars)

    def _spread(self, part):
        """Gives each replica of this process an equal share of a batch."""
        part = tf.convert_to_tensor(part)
        if self.strategy.num_replicas_in_sync == 1:
            return part
        replicas = len(self.strategy.extended.worker_devices)  # of this process
        share = part.shape[0] // replicas

        def of_replica(context):
            # Replicas are numbered over all processes, those of one in a row.
            first = context.replica_id_in_sync_group % replicas * share
            return part[first : first + share]

        return self.strategy.experimental_distribute_values_from_function(of_replica)

    def weights(self) -> list[tf.Tensor]:
        return [tf.convert_to_tensor(variable.value) for variable in self.weight_variables]

    def _distributed(self, batch, scalars, names: tuple[str, ...]):
        metrics = self.strategy.run(functools.partial(self._replica, names=names), (batch, scalars))
        reduce = functools.partial(self.strategy.reduce, tf.distribute.ReduceOp.MEAN, axis=None)
        return {name: reduce(value) for name, value in metrics.items()}

    def _replica(self, batch, scalars, names: tuple[str, ...]):
        replicas = self.strategy.num_replicas_in_sync
        if replicas > 1:
            batch = tuple(
                part if per_image else _fold_in_replica(part)
                for part, per_image in zip(batch, self.feed.per_image, strict=True)
            )
        images, labels = self.feed.prepare(self.arrays, *batch)
        stop, *scalars = tf.unstack(scalars)
        with tf.GradientTape() as tape:
            loss, metrics = self.objective(
                self.model, images, labels, dict(zip(names, scalars, strict=True))
            )
        variables = self.model.trainable_variables
        weights = [variable.value for variable in variables]
        gradients = tape.gradient(
            loss,
            weights,
            # Without a router, or with all branches of one kind, some weights have no effect.
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        if replicas > 1:
            # The norm to clip is that of the whole batch's gradient, the mean over the replicas.
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        gradients = clip_and_decay(gradients, weights, self.recipe)
        if replicas > 1:
            # The optimizer sums over the replicas once more.
            gradients = [gradient / replicas for gradient in gradients]
        self.optimizer.apply(gradients, variables)
        return metrics | {"stop": stop}


def _fold_in_replica(seed: tf.Tensor) -> tf.Tensor:
    """Makes a seed, integer [2], another one for each replica."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(replica, seed.dtype))
