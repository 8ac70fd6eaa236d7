"""A packed .tflite file is smaller and does the same."""

import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.quantize.int8 import quantize_weights
from export.tflite.runner import TFLiteRunner
from export.tflite.sharing import share_buffers


def test_packed_file_is_smaller_and_says_exactly_the_same(exported, images):
    model = (exported.folder / "model.tflite").read_bytes()
    for original in (model, quantize_weights(model)):
        packed = share_buffers(original)
        assert len(packed) < len(original)
        for threshold in (0.4, 1.0):
            expected = TFLiteRunner(original).run_all(images, threshold)
            actual = TFLiteRunner(packed).run_all(images, threshold)
            for field in dataclasses.fields(expected):
                np.testing.assert_array_equal(
                    getattr(actual, field.name), getattr(expected, field.name)
                )


def test_weights_are_aligned_as_the_format_asks(exported):
    packed = share_buffers(quantize_weights((exported.folder / "model.tflite").read_bytes()))
    root = schema.Model.GetRootAs(packed, 0)
    content = np.frombuffer(packed, np.uint8)
    buffers = [root.Buffers(i).DataAsNumpy() for i in range(root.BuffersLength())]
    starts = {
        data.__array_interface__["data"][0] - content.__array_interface__["data"][0]
        for data in buffers
        if isinstance(data, np.ndarray)
    }
    assert len(starts) > 100
    assert not any(start % 16 for start in starts)


def test_packing_again_changes_nothing(exported):
    packed = share_buffers((exported.folder / "model.tflite").read_bytes())
    assert len(share_buffers(packed)) == len(packed)
