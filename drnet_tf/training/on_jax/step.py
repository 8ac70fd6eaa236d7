"""One training step on JAX: a pure function, compiled as a whole, data parallel."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import keras
import numpy as np

from drnet_tf.backends.jax import (  # noqa: F401, what the loop finds by this module
    _index,
    compile_forward,
    compile_updates,
    compiled,
    make_deterministic,
)
from drnet_tf.models import DRNet
from drnet_tf.models.drnet.objective import objective
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.objective import Resource
from drnet_tf.models.schedules import Hyperparameters
from drnet_tf.training.feeds import Feed


class TrainingStep:
    """Trains a model by one batch at a time.

    The state lives in arrays of its own between steps; `sync` writes it back to the model. Under a
    distribution of Keras, arrays span its devices, in every process: batches in equal parts, all
    else whole on each.

    Args:
        model: a built model, made under the distribution in scope.
        recipe: for the constants of the objective and of SGD.
        resource: what E[R] counts.
        feed: how a batch becomes images and labels.

    Attributes:
        weight_variables: weights and moving moments, all that makes a trained model but its
            temperature.
    """

    def __init__(self, model: DRNet, recipe: Recipe, resource: Resource, feed: Feed):
        self.model = model
        self.recipe = recipe
        self._objective = functools.partial(
            objective,
            resource=resource,
            auxiliary_weight=recipe.auxiliary_weight,
            label_smoothing=recipe.label_smoothing,
        )
        self.feed = feed
        self._split, self._whole = _shardings()
        # Arguments of the compiled step: as constants in it they would be compiled in.
        self.arrays = tuple(_lay_out(array, self._whole) for array in feed.arrays)
        self.optimizer = keras.optimizers.SGD(
            recipe.learning_rate1,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            # Part of the paths in checkpoints; Keras would number the optimizers of a process.
            name="sgd",
        )
        self.optimizer.build(model.trainable_variables)
        self.weight_variables = [w for w in model.weights if w is not model.temperature]
        self._temperature = _index(model.non_trainable_variables, model.temperature)
        self._learning_rate = _index(self.optimizer.variables, self.optimizer._learning_rate)
        self._devices_here = 1 if self._split is None else len(self._split.addressable_devices)
        self._state: tuple | None = None
        # The old state is not needed any more: its memory serves for the new one.
        self._compiled = jax.jit(self._step, donate_argnums=0, out_shardings=self._whole)

    def __call__(
        self, batch: tuple, values: Hyperparameters, stop: bool = False
    ) -> dict[str, jax.Array]:
        """Does a step on this process's share of a batch of the feed.

        Returns:
            The parts of the loss, and "stop": more than 0 if any process asked with `stop`.
        """
        if self._state is None:
            # By way of the host: Keras lays the initial values out under a mesh of another kind.
            self._state = tuple(
                [_lay_out(np.array(v.value), self._whole) for v in part]
                for part in self._variables()
            )
        scalars = (
            values.learning_rate,
            values.temperature,
            values.resource_weight,
            values.drop_connection,
            values.drop_branch,
        )
        batch = tuple(
            _lay_out(part, self._split if per_image else self._whole)
            for part, per_image in zip(batch, self.feed.per_image, strict=True)
        )
        self._state, metrics = self._compiled(
            self._state,
            self.arrays,
            batch,
            _lay_out(np.array(scalars, np.float32), self._whole),
            _lay_out(np.full(self._devices_here, stop, np.float32), self._split),
        )
        return metrics

    def sync(self) -> None:
        """Writes the state to the variables of model and optimizer."""
        if self._state is not None:
            for part, values in zip(self._variables(), self._state, strict=True):
                for variable, value in zip(part, values, strict=True):
                    # A copy: the next step gives the memory of the state away.
                    variable.assign(_copy(value))

    def weights(self) -> list[jax.Array]:
        """The present values of `weight_variables`. The next step gives their memory away."""
        if self._state is None:
            return [variable.value for variable in self.weight_variables]
        values = {
            id(variable): value
            for part, values in zip(self._variables(), self._state, strict=True)
            for variable, value in zip(part, values, strict=True)
        }
        return [values[id(variable)] for variable in self.weight_variables]

    def _variables(self):
        model = self.model
        return model.trainable_variables, model.non_trainable_variables, self.optimizer.variables

    def _step(self, state, arrays, batch, scalars, stop):
        images, labels = self.feed.prepare(arrays, *batch)
        trainable, others, optimizer = state
        learning_rate, temperature, resource_weight, drop_connection, drop_branch = scalars
        others, optimizer = list(others), list(optimizer)
        others[self._temperature] = temperature
        optimizer[self._learning_rate] = learning_rate

        def loss_function(trainable):
            (logits, intermediates), updated = self.model.stateless_call(
                trainable,
                others,
                images,
                connection_rate=drop_connection,
                branch_rate=drop_branch,
                training=True,
            )
            loss, metrics = self._objective(
                logits, intermediates, labels, resource_weight=resource_weight
            )
            return loss, (metrics, updated)

        gradients, (metrics, others) = jax.grad(loss_function, has_aux=True)(trainable)
        if self.recipe.clip_norm:
            norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients))
            factor = jnp.minimum(1.0, self.recipe.clip_norm / norm)
            gradients = [gradient * factor for gradient in gradients]
        decay = self.recipe.weight_decay
        gradients = [g + decay * w for g, w in zip(gradients, trainable, strict=True)]
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return (trainable, others, optimizer), metrics | {"stop": jnp.max(stop)}


def _shardings() -> tuple[jax.sharding.Sharding | None, jax.sharding.Sharding | None]:
    """Over the devices of the Keras distribution in scope: by the first axis, and whole on each."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return None, None
    mesh = distribution.device_mesh.backend_mesh
    batch = jax.sharding.PartitionSpec(distribution.batch_dim_name)
    return (
        jax.sharding.NamedSharding(mesh, batch),
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()),
    )


def _lay_out(array, sharding: jax.sharding.Sharding | None) -> jax.Array:
    """The array of all processes from the share of this one, or from a whole that is the same."""
    if sharding is None:
        return jnp.array(np.asarray(array))
    return jax.make_array_from_process_local_data(sharding, np.asarray(array))


def _copy(array: jax.Array) -> jax.Array:
    """A copy in memory of its own, which this process makes without the others."""
    parts = [jnp.array(shard.data) for shard in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(array.shape, array.sharding, parts)
