"""One training step on JAX: a pure function, compiled as a whole, data parallel."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import keras
import numpy as np

from drnet_tf.models.family import Objective
from drnet_tf.models.schedules import Optimization, StepValues
from drnet_tf.training.descent import clip_and_decay
from drnet_tf.training.feeds import Feed
from drnet_tf.training.step import Step


class TrainingStep(Step):
    """Trains a model by one batch at a time.

    The state lives in arrays of its own between steps; `sync` writes it back to the model. Under a
    distribution of Keras, arrays span its devices, in every process: batches in equal parts, all
    else whole on each.
    """

    def __init__(self, model, recipe: Optimization, objective: Objective, feed: Feed):
        super().__init__(model, recipe, objective, feed)
        self._split, self._whole = _shardings()
        # Arguments of the compiled step: as constants in it they would be compiled in.
        self.arrays = tuple(_lay_out(array, self._whole) for array in feed.arrays)
        self._controls = {
            name: _index(model.non_trainable_variables, variable)
            for name, variable in model.controls.items()
        }
        self._learning_rate = _index(self.optimizer.variables, self.optimizer.learning_rate)
        self._devices_here = 1 if self._split is None else len(self._split.addressable_devices)
        self._state: tuple | None = None
        # The old state is not needed any more: its memory serves for the new one.
        self._compiled = jax.jit(
            self._step, static_argnums=5, donate_argnums=0, out_shardings=self._whole
        )

    def __call__(
        self, batch: tuple, values: StepValues, stop: bool = False
    ) -> dict[str, jax.Array]:
        self._state, metrics = self._compiled(*self._inputs(batch, values, stop))
        return metrics

    def lowered_for(self, platform: str, batch: tuple, values: StepValues) -> str:
        """Compiles to StableHLO for "cpu", "cuda" or "tpu", which need not be at hand."""
        *arguments, names = self._inputs(batch, values, False)

        def step(*arguments):
            return self._step(*arguments, names)

        exported = jax.export.export(jax.jit(step), platforms=[platform])(*arguments)
        return exported.mlir_module()

    def _inputs(self, batch: tuple, values: StepValues, stop: bool) -> tuple:
        if self._state is None:
            # By way of the host: Keras lays the initial values out under a mesh of another kind.
            self._state = tuple(
                [_lay_out(np.array(v.value), self._whole) for v in part]
                for part in self._variables()
            )
        batch = tuple(
            _lay_out(part, self._split if per_image else self._whole)
            for part, per_image in zip(batch, self.feed.per_image, strict=True)
        )
        # One array: each would be a transfer of its own.
        scalars = np.array([values.learning_rate, *values.scalars.values()], np.float32)
        return (
            self._state,
            self.arrays,
            batch,
            _lay_out(scalars, self._whole),
            _lay_out(np.full(self._devices_here, stop, np.float32), self._split),
            tuple(values.scalars),
        )

    def sync(self) -> None:
        if self._state is not None:
            for part, values in zip(self._variables(), self._state, strict=True):
                for variable, value in zip(part, values, strict=True):
                    # A copy: the next step gives the memory of the state away.
                    variable.assign(_copy(value))

    def weights(self) -> list[jax.Array]:
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

    def _step(self, state, arrays, batch, scalars, stop, names: tuple[str, ...]):
        images, labels = self.feed.prepare(arrays, *batch)
        trainable, others, optimizer = state
        learning_rate, *scalars = scalars
        by_name = dict(zip(names, scalars, strict=True))
        others, optimizer = list(others), list(optimizer)
        optimizer[self._learning_rate] = learning_rate
        for name, index in self._controls.items():
            others[index] = by_name[name]
        model = self.model

        def loss_function(trainable):
            mapping = [
                *zip(model.trainable_variables, trainable, strict=True),
                *zip(model.non_trainable_variables, others, strict=True),
            ]
            with keras.StatelessScope(state_mapping=mapping) as scope:
                loss, metrics = self.objective(model, images, labels, by_name)
            updated = [scope.get_current_value(v) for v in model.non_trainable_variables]
            return loss, (metrics, updated)

        gradients, (metrics, others) = jax.grad(loss_function, has_aux=True)(trainable)
        gradients = clip_and_decay(gradients, trainable, self.recipe)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return (trainable, others, optimizer), metrics | {"stop": jnp.max(stop)}


def _shardings() -> tuple[jax.sharding.Sharding | None, jax.sharding.Sharding | None]:
    """Returns how arrays span the devices in scope: by the first axis, and whole on each."""
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
    """Makes the array of all processes from the share of this one, or from an equal whole."""
    if sharding is None:
        return jnp.array(np.asarray(array))
    return jax.make_array_from_process_local_data(sharding, np.asarray(array))


def _copy(array: jax.Array) -> jax.Array:
    """Copies to memory of its own, in this process without the others."""
    parts = [jnp.array(shard.data) for shard in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(array.shape, array.sharding, parts)


def _index(variables: Sequence, wanted) -> int:
    return next(i for i, variable in enumerate(variables) if variable is wanted)
