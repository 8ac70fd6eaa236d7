"""Converts a graph to a .tflite file."""

from __future__ import annotations

import tensorflow as tf

from export.graphs.drnet.forward import forward
from export.graphs.drnet.network import Network
from export.graphs.drnet.vector_lanes import fill_vector_lanes
from export.graphs.plan import Structure


def to_tflite(network: Network, structure: Structure, float16: bool = False) -> bytes:
    """A .tflite file that classifies one image.

    Args:
        float16: whether to store weights as float16. They are computed with as float32.

    Its signature `serving_default` has the inputs `image`, float32 [1, image_size, image_size, 3]
    in 0..255, and `threshold`, float32 [1]; and the outputs `logits` and `probabilities`, float32
    [1, classes]; `selected`, float32 0 or 1 [cells, connections, branches]; `flops`, float32 [1].
    No tensor of it has rank 0, which some runtimes cannot handle, and `selected` is no bool, which
    some cannot read. Of a fixed structure there are `image`, `logits` and `probabilities` only.
    """
    network = fill_vector_lanes(network)
    size = network.config.image_size
    image_spec = tf.TensorSpec([1, size, size, 3], tf.float32, name="image")
    threshold_spec = tf.TensorSpec([1], tf.float32, name="threshold")
    signature = [image_spec] if structure.fixed else [image_spec, threshold_spec]

    @tf.function(autograph=False, input_signature=signature)
    def classify(image, threshold=None):
        outputs = forward(network, structure, image, threshold)
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
