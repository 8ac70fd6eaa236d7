"""A Keras layer or model as a function without variables, which a tf.cond can hold."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def freeze(call: Callable[[tf.Tensor], tf.Tensor], shape) -> Callable[[tf.Tensor], tf.Tensor]:
    """Turns the variables that a function reads into constants.

    LiteRT cannot read inside an IF a variable that was made outside of it.

    Args:
        call: the inference of something built, with one tensor in and one out.
        shape: of its input.
    """

    # Reading the variables takes eager execution, also where a graph is being built around this.
    with tf.init_scope():
        traced = tf.function(
            call, autograph=False, input_signature=[tf.TensorSpec(shape, tf.float32)]
        )
        frozen = convert_variables_to_constants_v2(
            traced.get_concrete_function(), lower_control_flow=False
        )
    return lambda x: tf.nest.flatten(frozen(x))[0]
