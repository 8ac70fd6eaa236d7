"""What importing the package costs."""

import subprocess
import sys

from tests.source_tree import ROOT

PROGRAM = """
import sys
import drnet_tf
print([name for name in ("keras", "tensorflow", "jax") if name in sys.modules])
assert "build_model" in dir(drnet_tf)
"""


def test_the_package_alone_imports_no_framework():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
