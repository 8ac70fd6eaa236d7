"""Counting of instructions."""

import shutil

import numpy as np
import pytest

from drnet_tf.errors import UserError
from export import instructions
from export.instructions import count_instructions, count_invocations, report_table
from export.tflite.native_runner import compile_runner

needs_tools = pytest.mark.skipif(
    not (shutil.which("cc") and shutil.which("valgrind")), reason="needs cc and valgrind"
)


@needs_tools
def test_more_branches_take_more_instructions(exported, images):
    model = exported.trained.model
    report = count_instructions(exported.trained, exported.export, images[:2], (0.0, 1.0))
    few, all_ = report.counts
    assert few.macs_ratio < 1 and all_.macs_ratio == 1
    assert all_.macs == model.cost.total.macs
    assert few.instructions < all_.instructions
    for count in report.counts:
        assert count.ratio == pytest.approx(count.instructions / report.dense_instructions)
    # An instruction of the sets that valgrind shows does at most 8 multiply-accumulates.
    assert report.dense_instructions > model.cost.total.macs / 8
    assert "avx512f" not in report.instruction_sets
    assert report_table(report).row_count == 3


@needs_tools
def test_count_of_an_image_repeats_and_leaves_out_loading(exported, images, tmp_path):
    program = tmp_path / "run_tflite"
    compile_runner(program)
    model = exported.folder / "model.tflite"
    once, _ = count_invocations(program, model, images[:1], 1.0)
    four, results = count_invocations(program, model, np.repeat(images[:1], 4, axis=0), 1.0)
    assert len(results) == 4
    assert four == pytest.approx(once, rel=1e-2)


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setattr(instructions, "require_compiler", lambda: None)
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="valgrind is needed"):
        instructions.check_tools()
