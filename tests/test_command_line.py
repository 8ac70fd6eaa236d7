"""What is the same for all command lines."""

import subprocess
import sys

from tests.source_tree import ROOT


def test_help_lists_the_flags_that_other_modules_define_for_a_command():
    # A process of its own: absl shows its help once.
    result = subprocess.run(
        [sys.executable, "-m", "drnet_tf.train", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    for name in ("workdir", "dataset", "stage1_epochs", "crop_padding", "seed", "model"):
        assert f"--{name}:" in result.stdout, name
    assert result.stderr == ""
