"""What the training steps of all backends have: the model, its optimizer, its weights."""

from __future__ import annotations

import abc

import keras

from drnet_tf.models.family import Objective
from drnet_tf.models.schedules import Optimization
from drnet_tf.training.feeds import Feed


class Step(abc.ABC):
    """Holds what a step trains. Each backend has a `TrainingStep` that does it, of this class.

    Calling it with a batch of the feed, of which this process has its share, the `StepValues` and
    whether to `stop`, does a step. It returns the metrics of the objective, and "stop": more than 0
    if any process asked to.

    Args:
        model: a built `RoutedModel`, made under the distribution in scope.
        recipe: for the constants of SGD.
        objective: what is lowered, of the model's family.
        feed: how a batch becomes images and labels.

    Attributes:
        arrays: those of the feed, on the device.
        weight_variables: weights and moving moments, all that makes a trained model but what the
            schedule sets.
    """

    def __init__(self, model, recipe: Optimization, objective: Objective, feed: Feed):
        self.model = model
        self.recipe = recipe
        self.objective = objective
        self.feed = feed
        self.optimizer = keras.optimizers.SGD(
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            # Part of the paths in checkpoints; Keras would number the optimizers of a process.
            name="sgd",
        )
        self.optimizer.build(model.trainable_variables)
        set_by_schedule = {id(variable) for variable in model.controls.values()}
        self.weight_variables = [w for w in model.weights if id(w) not in set_by_schedule]

    def sync(self) -> None:  # noqa: B027, not abstract: where the variables are the state
        """Writes the state to the variables of model and optimizer."""

    @abc.abstractmethod
    def weights(self) -> list:
        """Returns the values of `weight_variables`; the next step may give their memory away."""
