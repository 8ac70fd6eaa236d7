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

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
DTYPES = ("float32", "mixed_bfloat16")


@pytest.fixture(scope="module", params=DTYPES)
def lowered(request):
    """Gives a data type, and what the program found with it."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.training.on_jax.lowering", request.param],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return request.param, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("family", family_cases.CASES)
def test_step_calls_nothing_on_the_host(family, platform, lowered):
    dtype, found = lowered
    program = found[f"{family} on {platform}"]
    assert program["characters"] > 10_000
    assert "f64" not in program["types"]
    assert ("bf16" in program["types"]) == (dtype == "mixed_bfloat16")
    assert not [target for target in program["targets"] if "callback" in target]
