"""Converts a graph to a .tflite file."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from export.graphs.graph import RoutedGraph
from export.graphs.plan import Plan
from export.tflite.sharing import share_buffers

#: What is done to a file after it was quantized, in this order.
FILE_PASSES: tuple[Callable[[bytes], bytes], ...] = (share_buffers,)


def to_tflite(graph: RoutedGraph, plan: Plan, float16: bool = False) -> bytes:
    """Makes a .tflite file that classifies one image.

    Args:
        float16: whether to store weights as float16. They are computed with as float32.

    Its signature `serving_default` has the inputs `image`, float32 [1, image_size, image_size, 3]
    in 0..255, and `threshold`, float32 [1]; and the outputs `logits` and `probabilities`, float32
    [1, classes]; `selected`, float32 0 or 1 [*units]; `flops`, float32 [1]. No tensor of it has
    rank 0, which some runtimes cannot handle, and `selected` is no bool, which some cannot read.
    Where nothing routes, or the plan is fixed, there are `image`, `logits` and `probabilities`
    only.
    """
    size = graph.config.image_size
    signature = [tf.TensorSpec([1, size, size, 3], tf.float32, name="image")]
    if graph.routed and not plan.fixed:
        signature.append(tf.TensorSpec([1], tf.float32, name="threshold"))

    @tf.function(autograph=False, input_signature=signature)
    def classify(image, threshold=None):
        outputs = graph.forward(image, threshold, plan)
        if "selected" in outputs:
            outputs["selected"] = outputs["selected"][0]
        return outputs

    # The signature keeps its names only if an object holds the function; the concrete one, since
    # the other would be traced once more.
    module = tf.Module()
    module.classify = classify.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.classify], module)
    if float16:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def finish(model: bytes) -> bytes:
    """Applies all passes to a file."""
    for apply in FILE_PASSES:
        model = apply(model)
    return model
