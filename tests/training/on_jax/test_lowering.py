"""The training step of every family is one program for TPU and GPU, which asks the host nothing.

No accelerator is needed to say that, and nothing here says that the program runs or is fast there.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.models import family_cases
from tests.source_tree import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax"),
]

#: Of what is compiled for the CPU on the way; it has no effect on what is lowered.
XLA_FLAGS = "--xla_backend_optimization_level=0"
PLATFORMS = ("tpu", "cuda")


@pytest.fixture(scope="module")
def lowered():
    """Gives what the program found."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.training.on_jax.lowering"],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": XLA_FLAGS},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("family", family_cases.CASES)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_step_calls_nothing_on_the_host(dtype, family, platform, lowered):
    program = lowered[f"{dtype} {family} {platform}"]
    assert program["characters"] > 10_000
    assert "f64" not in program["types"]
    assert ("bf16" in program["types"]) == (dtype == "mixed_bfloat16")
    assert not [target for target in program["targets"] if "callback" in target]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_function_that_calls_the_host_would_not_be_lowered(platform, lowered):
    assert platform in lowered["refused"]
