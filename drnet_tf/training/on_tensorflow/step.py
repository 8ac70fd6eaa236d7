"""One training step on TensorFlow: a GradientTape in one tf.function, under tf.distribute."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from drnet_tf.backends.tensorflow import (  # noqa: F401, what the loop finds by this module
    compile_forward,
    compile_updates,
    compiled,
    make_deterministic,
)
from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.separable_conv import SeparableConvs
from drnet_tf.models import DRNet
from drnet_tf.models.drnet.objective import objective
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.objective import Resource
from drnet_tf.models.schedules import Hyperparameters
from drnet_tf.training.feeds import Feed
from drnet_tf.training.on_tensorflow.depthwise import depthwise_conv

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


class TrainingStep:
    """Trains a model by one batch at a time.

    Args:
        model: a built model, made under `strategy.scope()`.
        recipe: for the constants of the objective and of SGD.
        resource: what E[R] counts.
        feed: how a batch becomes images and labels.
        strategy: a tf.distribute strategy; None is the one in scope.

    Attributes:
        weight_variables: weights and moving moments, all that makes a trained model but its
            temperature.
    """

    def __init__(
        self,
        model: DRNet,
        recipe: Recipe,
        resource: Resource,
        feed: Feed,
        strategy: tf.distribute.Strategy | None = None,
    ):
        self.model = model
        self.recipe = recipe
        self._objective = functools.partial(
            objective,
            resource=resource,
            auxiliary_weight=recipe.auxiliary_weight,
            label_smoothing=recipe.label_smoothing,
        )
        self.feed = feed
        self.arrays = tuple(tf.constant(array) for array in feed.arrays)
        self.strategy = strategy or tf.distribute.get_strategy()
        with self.strategy.scope():
            self.optimizer = keras.optimizers.SGD(
                recipe.learning_rate1,
                momentum=recipe.momentum,
                nesterov=recipe.nesterov,
                # Part of the paths in checkpoints; Keras would number the optimizers of a process.
                name="sgd",
            )
            self.optimizer.build(model.trainable_variables)
        self.weight_variables = [w for w in model.weights if w is not model.temperature]
        if self.strategy.num_replicas_in_sync > 1:
            for layer in model._flatten_layers():
                if isinstance(layer, BatchNorm):
                    layer.synchronized = True
                for draws in layer._seed_generators:
                    draws.fold = _fold_in_replica
        if not any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU")):
            for layer in model._flatten_layers():
                if isinstance(layer, SeparableConvs):
                    layer.depthwise_conv = depthwise_conv
        tf.config.optimizer.set_experimental_options(dict.fromkeys(UNUSED_REWRITES, False))
        # AutoGraph would rewrite all of Keras and make tracing ten times slower.
        self._compiled = tf.function(self._distributed, autograph=False)

    def __call__(
        self, batch: tuple, values: Hyperparameters, stop: bool = False
    ) -> dict[str, tf.Tensor]:
        """Does a step on this process's share of a batch of the feed.

        Returns:
            The parts of the loss, and "stop": more than 0 if any process asked with `stop`.
        """
        self.optimizer.learning_rate = values.learning_rate
        self.model.temperature.assign(values.temperature)
        return self._compiled(*self._inputs(batch, values, stop))

    def trace(
        self, batch: tuple, values: Hyperparameters
    ) -> tf.types.experimental.ConcreteFunction:
        """The graph of a step, which a later call does not trace again; no step is done."""
        return self._compiled.get_concrete_function(*self._inputs(batch, values, False))

    def _inputs(self, batch, values, stop):
        scalars = (values.resource_weight, values.drop_connection, values.drop_branch, stop)
        batch = tuple(
            self._spread(part) if per_image else tf.convert_to_tensor(part)
            for part, per_image in zip(batch, self.feed.per_image, strict=True)
        )
        return batch, tf.constant(scalars, tf.float32)

    def _spread(self, part):
        """An equal share of a batch for each replica of this process."""
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

    def sync(self) -> None:
        """Nothing to do: the variables of model and optimizer are the state."""

    def weights(self) -> list[tf.Tensor]:
        """The present values of `weight_variables`."""
        return [tf.convert_to_tensor(variable.value) for variable in self.weight_variables]

    def _distributed(self, batch, scalars):
        metrics = self.strategy.run(self._replica, (batch, scalars))
        reduce = functools.partial(self.strategy.reduce, tf.distribute.ReduceOp.MEAN, axis=None)
        return {name: reduce(value) for name, value in metrics.items()}

    def _replica(self, batch, scalars):
        replicas = self.strategy.num_replicas_in_sync
        if replicas > 1:
            batch = tuple(
                part if per_image else _fold_in_replica(part)
                for part, per_image in zip(batch, self.feed.per_image, strict=True)
            )
        images, labels = self.feed.prepare(self.arrays, *batch)
        resource_weight, drop_connection, drop_branch, stop = tf.unstack(scalars)
        with tf.GradientTape() as tape:
            logits, intermediates = self.model(
                images,
                connection_rate=drop_connection,
                branch_rate=drop_branch,
                training=True,
            )
            loss, metrics = self._objective(
                logits, intermediates, labels, resource_weight=resource_weight
            )
        variables = self.model.trainable_variables
        gradients = tape.gradient(
            loss,
            [variable.value for variable in variables],
            # Without a router, or with all branches of one kind, some weights have no effect.
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        if replicas > 1:
            # The norm to clip is that of the whole batch's gradient. The optimizer sums over the
            # replicas once more, hence the division, by their number for the mean and again.
            context = tf.distribute.get_replica_context()
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients = [gradient / replicas for gradient in gradients]
        shrink = 1 / replicas
        if self.recipe.clip_norm:
            norm = tf.linalg.global_norm(gradients)
            shrink = tf.minimum(1.0, self.recipe.clip_norm / norm) / replicas
        decay = tf.constant(self.recipe.weight_decay / replicas)
        gradients = [
            gradient * shrink + decay * variable.value
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        self.optimizer.apply(gradients, variables)
        return metrics | {"stop": stop}


def _fold_in_replica(seed: tf.Tensor) -> tf.Tensor:
    """A seed, integer [2], to another one for each replica."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(replica, seed.dtype))
