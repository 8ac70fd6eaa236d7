"""The child process that trains the PyTorch DRNet.

Run it with KERAS_BACKEND=torch: our configuration comes with Keras, which would load TensorFlow.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from benchmarks.child_turns import serve, use_cores


def prepare(settings: dict[str, Any]) -> tuple[Callable[[int], float], dict[str, Any]]:
    use_cores(settings["threads"])
    # Here: the framework counts the cores when it is loaded.
    import torch

    from benchmarks.torch_drnet import TorchDRNet
    from benchmarks.torch_step import TorchStep
    from benchmarks.workload import middle_of_stage_2, synthetic_batches
    from drnet_tf.models import model_config
    from drnet_tf.models.drnet.cost import cost_table
    from drnet_tf.models.drnet.recipe import Recipe
    from drnet_tf.models.objective import Resource

    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    config = model_config(settings["model"])
    recipe = Recipe(batch_size=settings["batch_size"])
    step = TorchStep(TorchDRNet(config), recipe, Resource.from_cost("macs", cost_table(config)))
    values = middle_of_stage_2(recipe)
    batches = itertools.cycle(
        # The permuted view of rows of pixels is what channels_last means.
        (torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels).long())
        for images, labels in synthetic_batches(config, recipe.batch_size)
    )

    def run(steps: int) -> float:
        for _ in range(steps):
            loss = step(*next(batches), values)
        return float(loss)

    start = time.perf_counter()
    run(1)
    first = time.perf_counter()
    run(1)
    facts = {
        "versions": {"torch": torch.__version__},
        "tracing_seconds": 0.0,
        "first_step_seconds": first - start,
    }
    return run, facts


if __name__ == "__main__":
    serve(prepare)
