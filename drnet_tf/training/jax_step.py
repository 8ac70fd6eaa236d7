"""One training step on JAX: a pure function, compiled as a whole, data parallel."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import keras
import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.models import DRNet
from drnet_tf.training.feeds import Feed
from drnet_tf.training.objective import Resource, objective
from drnet_tf.training.schedules import Hyperparameters, Recipe


def make_deterministic() -> None:
    """XLA on a CPU does so anyway; a GPU needs XLA_FLAGS=--xla_gpu_deterministic_ops=true."""


def placement(batch_size: int) -> contextlib.AbstractContextManager:
    """The scope to build a model and its `TrainingStep` in: all devices, data parallel.

    Raises:
        UserError: the batch does not divide by their number.
    """
    devices = jax.device_count()
    if devices < 2:
        return contextlib.nullcontext()
    if batch_size % devices:
        raise UserError(f"batch_size must divide by the {devices} devices, not be {batch_size}")
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    return contextlib.nullcontext()


def compiled(function: Callable) -> Callable:
    """A pure function of arrays, compiled."""
    return jax.jit(function)


class TrainingStep:
    """Trains a model by one batch at a time.

    The state lives in arrays of its own between steps; `sync` writes it back to the model.

    Args:
        model: a built model.
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
        self.resource = resource
        self.feed = feed
        # Arguments of the compiled step: as constants in it they would be compiled in.
        self.arrays = tuple(jnp.asarray(array) for array in feed.arrays)
        self.optimizer = keras.optimizers.SGD(
            recipe.learning_rate1, momentum=recipe.momentum, nesterov=recipe.nesterov, name="sgd"
        )
        self.optimizer.build(model.trainable_variables)
        self.weight_variables = [w for w in model.weights if w is not model.temperature]
        self._temperature = _index(model.non_trainable_variables, model.temperature)
        self._learning_rate = _index(self.optimizer.variables, self.optimizer._learning_rate)
        self._state: tuple | None = None
        # The old state is not needed any more: its memory serves for the new one.
        self._compiled = jax.jit(self._step, donate_argnums=0)

    def __call__(self, batch: tuple, values: Hyperparameters) -> dict[str, jax.Array]:
        """Does a step on a batch of the feed; returns the parts of the loss."""
        if self._state is None:
            self._state = tuple([jnp.array(v.value) for v in part] for part in self._variables())
        scalars = (
            values.learning_rate,
            values.temperature,
            values.resource_weight,
            values.drop_connection,
            values.drop_branch,
        )
        batch = tuple(
            shard(np.asarray(part)) if per_image else jnp.asarray(part)
            for part, per_image in zip(batch, self.feed.per_image, strict=True)
        )
        self._state, metrics = self._compiled(
            self._state, self.arrays, batch, jnp.array(scalars, jnp.float32)
        )
        return metrics

    def sync(self) -> None:
        """Writes the state to the variables of model and optimizer."""
        if self._state is not None:
            for part, values in zip(self._variables(), self._state, strict=True):
                for variable, value in zip(part, values, strict=True):
                    # A copy: the next step gives the memory of the state away.
                    variable.assign(jnp.array(value))

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

    def _step(self, state, arrays, batch, scalars):
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
            loss, metrics = objective(
                logits,
                intermediates,
                labels,
                self.resource,
                resource_weight,
                self.recipe.auxiliary_weight,
                self.recipe.label_smoothing,
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
        return (trainable, others, optimizer), metrics


def shard(array):
    """Lays the first axis of an array out over the devices of the Keras distribution in use."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return array
    layout = distribution.get_data_layout(array.shape)
    return keras.distribution.distribute_tensor(array, layout)


def compile_updates(model: DRNet, variables: Sequence) -> Callable[..., list[np.ndarray]]:
    """A compiled function of images [batch, ...] and a threshold.

    Returns:
        A function that gives what an evaluation of the model would leave in some of its variables
        that are not trained.
    """
    indices = [_index(model.non_trainable_variables, variable) for variable in variables]

    @jax.jit
    def forward(state, images, threshold):
        _, updated = model.stateless_call(*state, images, threshold=threshold, training=False)
        return [updated[index] for index in indices]

    def run(images, threshold):
        values = forward(_model_state(model), images, np.float32(threshold))
        return [np.asarray(value) for value in values]

    return run


def compile_forward(model: DRNet) -> Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]:
    """A compiled function of images [batch, ...] and a threshold.

    Returns:
        A function that gives logits [batch, classes] and selected [batch, cells, connections,
        branches] as NumPy arrays. Batches of one size compile once.
    """

    @jax.jit
    def forward(state, images, threshold):
        (logits, intermediates), _ = model.stateless_call(
            *state, images, threshold=threshold, training=False
        )
        return logits, intermediates["selected"]

    def run(images, threshold):
        logits, selected = forward(_model_state(model), images, np.float32(threshold))
        return np.asarray(logits), np.asarray(selected)

    return run


def _model_state(model: DRNet) -> tuple[list, list]:
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )


def _index(variables, wanted) -> int:
    return next(i for i, variable in enumerate(variables) if variable is wanted)
