"""Measures the range of each tensor of a .tflite file, also of those inside of IF branches.

The calibrator of ai-edge-quantizer reads the main graph only and fails on the tensors of branches.
Here an interpreter keeps all tensors, and their values are read from every subgraph after every
invocation.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from drnet_tf.progress import Progress, silent
from export.tflite.operators import read_model
from export.tflite.runner import TFLiteRunner

Ranges = dict[str, dict[str, np.ndarray]]


def tensor_ranges(
    model: bytes, images: np.ndarray, thresholds: Sequence[float], progress: Progress = silent
) -> Ranges:
    """Finds the smallest and the largest value that each float32 tensor takes.

    Args:
        model: content of a .tflite file of this package.
        images: float32 [images, image_size, image_size, 3] in 0..255, as trained on.
        thresholds: values of the knob. The first one runs all units, so that none is without a
            range. () for a file without routing.
        progress: called with the invocations done, their number, and what is being done.

    Returns:
        For each name "min" and "max", float32 arrays of the tensor's rank with one element.
    """
    values: list[float | None] = [*dict.fromkeys(thresholds)] or [None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that keeping all tensors takes memory
        interpreter = Interpreter(
            model_content=model,
            # Without delegates: what they compute at one go has no values in between.
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
    runner = TFLiteRunner(interpreter)
    tensors = list(_float_tensors(model))
    lowest: dict[str, np.ndarray] = {}
    highest: dict[str, np.ndarray] = {}
    done, total = 0, len(images) * len(values)
    # Threshold by threshold: all units run first, so that later every tensor of a unit that is
    # skipped holds the values of an earlier image, and none has never been written.
    for threshold in values:
        runner.set_threshold(threshold)
        for image in images:
            runner.set_image(image)
            runner.invoke()
            for subgraph, index, name in tensors:
                try:
                    value = interpreter.get_tensor(index, subgraph)
                except ValueError:
                    continue  # of a subgraph that has not run yet: nothing is skipped so far
                if value.size:
                    one = (1,) * value.ndim
                    low, high = value.min().reshape(one), value.max().reshape(one)
                    lowest[name] = np.minimum(lowest.get(name, low), low)
                    highest[name] = np.maximum(highest.get(name, high), high)
            done += 1
            progress(done, total, "calibrating")
    return {name: {"min": lowest[name], "max": highest[name]} for name in lowest}


def _float_tensors(model: bytes) -> Iterator[tuple[int, int, str]]:
    """Lists subgraph, index and name of the tensors that are inputs or that operators compute."""
    for i, subgraph in enumerate(read_model(model).subgraphs):
        outputs = [index for operator in subgraph.operators for index in operator.outputs]
        for index in sorted({*subgraph.inputs, *outputs}):
            tensor = subgraph.tensors[index]
            if tensor.type == schema.TensorType.FLOAT32:
                yield i, int(index), tensor.name.decode()
