"""A program: what custom calls the training step of every family has on TPU and GPU.

KERAS_BACKEND=jax python -m tests.training.on_jax.lowering

Neither has to be at hand: JAX lowers for platforms that are not there. Prints JSON: by data type,
family and platform the targets of the custom calls of the lowered module, its types of numbers and
its size in characters. The entry "refused" says on which platforms JAX refused to lower a function
that calls the host.
"""

import json
import re

import jax
import numpy as np

from drnet_tf.training.on_jax.step import TrainingStep
from tests.models import family_cases

PLATFORMS = ("tpu", "cuda")
DTYPES = ("float32", "mixed_bfloat16")
REFUSED = "refused"
_CUSTOM_CALL = re.compile(r"custom_call\s*@([\w.$]+)|call_target_name\s*=\s*\"([^\"]+)\"")


def main() -> None:
    found = {}
    for dtype in DTYPES:
        for family in family_cases.CASES:
            model = family_cases.build(family, dtype=dtype)
            step, values = family_cases.make_step(TrainingStep, model)
            batch = family_cases.batch_of(model.config)
            for platform in PLATFORMS:
                module = step.lowered_for(platform, batch, values)
                targets = {first or second for first, second in _CUSTOM_CALL.findall(module)}
                found[f"{dtype} {family} {platform}"] = {
                    "targets": sorted(targets),
                    "types": sorted(set(re.findall(r"x(bf16|f32|f64)>", module))),
                    "characters": len(module),
                }
    found[REFUSED] = [platform for platform in PLATFORMS if _is_host_call_refused(platform)]
    print(json.dumps(found))


def _is_host_call_refused(platform: str) -> bool:
    def call_host(x):
        return jax.pure_callback(np.asarray, jax.ShapeDtypeStruct((3,), np.float32), x)

    try:
        jax.export.export(jax.jit(call_host), platforms=[platform])(np.ones(3, np.float32))
    except ValueError:
        return True
    return False


if __name__ == "__main__":
    main()
