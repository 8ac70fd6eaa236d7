"""Kinds of kernels, from the names that perf gives."""

import shutil

import pytest

from benchmarks import kernel_profile
from drnet_tf.errors import UserError


def test_samples_are_counted_by_what_their_kernel_is_for():
    names = [
        "xnn_f32_dwconv_minmax_ukernel_25p16c__avx512f",
        "xnn_f32_dwconv_minmax_ukernel_9p16c__avx512f",
        "xnn_f32_gemm_minmax_ukernel_7x32__avx512f_broadcast",
        "xnn_f32_igemm_minmax_ukernel_7x32__avx512f_broadcast",
        "tflite::ops::builtin::if_kernel::Eval_static",
        "",
        "  xnn_f32_gemm_minmax_ukernel_7x16__avx512f_broadcast ",
        "xnn_f32_maxpool_minmax_ukernel_9p__sse2_u4",
    ]
    assert kernel_profile.shares(names) == pytest.approx(
        {
            "pointwise and dense": 2 / 7,
            "depthwise 5x5": 1 / 7,
            "depthwise 3x3": 1 / 7,
            "other convolutions": 1 / 7,
            kernel_profile.AROUND: 1 / 7,
            "max pools": 1 / 7,
        }
    )


def test_missing_perf_is_one_line(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="perf is needed"):
        kernel_profile.profile(None, None, 1.0, 1.0)
