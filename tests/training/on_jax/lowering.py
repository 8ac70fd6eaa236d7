"""A program: what custom calls the training step of every family has on TPU and GPU.

KERAS_BACKEND=jax python -m tests.training.on_jax.lowering DTYPE

Neither has to be at hand: JAX lowers for platforms that are not there. Prints JSON: for each family
and platform the targets of the custom calls of the lowered module, and its size in characters.
"""

import json
import re
import sys

from drnet_tf.training.on_jax.step import TrainingStep
from tests.models import family_cases

PLATFORMS = ("tpu", "cuda")
_CUSTOM_CALL = re.compile(r"custom_call\s*@([\w.$]+)|call_target_name\s*=\s*\"([^\"]+)\"")


def main(dtype: str) -> None:
    found = {}
    for family in family_cases.CASES:
        model = family_cases.build(family, dtype=dtype)
        step, values = family_cases.make_step(TrainingStep, model)
        batch = family_cases.batch_of(model.config)
        for platform in PLATFORMS:
            module = str(step.lowered_for(platform, batch, values))
            targets = {first or second for first, second in _CUSTOM_CALL.findall(module)}
            found[f"{family} on {platform}"] = {
                "targets": sorted(targets),
                "types": sorted(set(re.findall(r"x(bf16|f32|f64)>", module))),
                "characters": len(module),
            }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
