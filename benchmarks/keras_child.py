"""The child process that trains our DRNet on TensorFlow."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from benchmarks.child_turns import serve, use_cores


class SyntheticFeed:
    """Batches as they are; see `drnet_tf.training.feeds.Feed`."""

    arrays: tuple = ()
    per_image = (True, True)

    def prepare(self, arrays, images, labels):
        return images, labels


def make_step(settings: dict[str, Any]) -> tuple[Callable, Callable]:
    """Makes what does a step on the next batch, and what gives the graph of a step.

    Args:
        settings: `model`, `batch_size` and `threads`.
    """
    use_cores(settings["threads"])
    # Here: the frameworks count the cores when they are loaded.
    import keras

    from benchmarks.workload import middle_of_stage_2, synthetic_batches
    from drnet_tf.models import build_model
    from drnet_tf.models.drnet.objective import make_objective
    from drnet_tf.models.drnet.recipe import Recipe
    from drnet_tf.models.objective import Resource
    from drnet_tf.training.on_tensorflow.step import TrainingStep
    from drnet_tf.training.on_tensorflow.threads import use_threads

    use_threads(settings["threads"])
    keras.utils.set_random_seed(0)
    model = build_model(settings["model"], seed=0)
    recipe = Recipe(batch_size=settings["batch_size"])
    feed: Any = SyntheticFeed()
    objective = make_objective(recipe, Resource.from_cost("macs", model.cost))
    step = TrainingStep(model, recipe, objective, feed)
    values = middle_of_stage_2(recipe)
    batches = synthetic_batches(model.config, recipe.batch_size)
    endless = itertools.cycle(batches)
    return lambda: step(next(endless), values), lambda: step.trace(batches[0], values)


def prepare(settings: dict[str, Any]) -> tuple[Callable[[int], float], dict[str, Any]]:
    step, trace = make_step(settings)
    import keras
    import tensorflow as tf

    start = time.perf_counter()
    trace()
    traced = time.perf_counter()
    step()["loss"].numpy()
    first = time.perf_counter()

    def run(steps: int) -> float:
        for _ in range(steps):
            metrics = step()
        return float(metrics["loss"].numpy())

    run(1)
    facts = {
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "tracing_seconds": traced - start,
        "first_step_seconds": first - traced,
    }
    return run, facts


if __name__ == "__main__":
    serve(prepare)
