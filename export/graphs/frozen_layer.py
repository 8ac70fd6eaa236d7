"""A Keras layer as a function without variables, which a tf.cond can hold."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def freeze(layer: keras.layers.Layer, shape) -> Callable[[tf.Tensor], tf.Tensor]:
    """The layer's inference with its variables turned into constants.

    LiteRT cannot read inside an IF a variable that was made outside of it.

    Args:
        layer: built, with one tensor in and one out.
        shape: of its input.
    """

    # Reading the variables takes eager execution, also where a graph is being built around this.
    with tf.init_scope():

        @tf.function(autograph=False, input_signature=[tf.TensorSpec(shape, tf.float32)])
        def call(x):
            return layer(x, training=False)

        frozen = convert_variables_to_constants_v2(
            call.get_concrete_function(), lower_control_flow=False
        )
    return lambda x: tf.nest.flatten(frozen(x))[0]
