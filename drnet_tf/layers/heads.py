"""Heads: the classifier, and the auxiliary head that helps its training."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.convolution import convolution
from drnet_tf.layers.cost import Cost

AUXILIARY_CHANNELS = (128, 768)


@keras.saving.register_keras_serializable(package="drnet_tf")
class Classifier(keras.layers.Layer):
    """Classifies by global average pooling and a dense layer.

    Args:
        classes: number of classes.

    Call arguments:
        x: float [batch, height, width, channels].

    Returns:
        float32 logits [batch, classes].
    """

    def __init__(self, classes: int, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes
        self.dense = keras.layers.Dense(classes, name="dense", dtype="float32")

    def build(self, input_shape):
        self.dense.build((None, input_shape[-1]))

    def call(self, x):
        return self.dense(ops.mean(ops.cast(x, "float32"), axis=(1, 2)))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable(package="drnet_tf")
class AuxiliaryHead(keras.layers.Layer):
    """Classifies from the middle of the network, in training only; DARTS's.

    ReLU, 5x5 average pooling, 1x1 convolution to 128, 2x2 convolution to 768 (both with batch
    normalization and ReLU), dense. Kernels shrink to the feature map where it is smaller.

    Args:
        classes: number of classes.
        stride: of the pooling; 3 in DARTS for CIFAR, 2 for ImageNet.

    Call arguments:
        x: float [batch, height, width, channels].

    Returns:
        float32 logits [batch, classes].
    """

    def __init__(self, classes: int, stride: int, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.classes = classes
        self.stride = stride
        self.reduce = convolution(AUXILIARY_CHANNELS[0], 1, name="reduce", dtype=policy)
        self.norms = [BatchNorm(name=f"norm_{i}", dtype=policy) for i in range(2)]
        self.dense = keras.layers.Dense(classes, name="dense", dtype="float32")

    def build(self, input_shape):
        batch, height, _, channels = input_shape
        self.pool_size = min(5, height)
        pooled = (height - self.pool_size) // self.stride + 1
        kernel_size = min(2, pooled)
        self.expand = convolution(
            AUXILIARY_CHANNELS[1],
            kernel_size,
            padding="valid",
            name="expand",
            dtype=self.dtype_policy,
        )
        self.reduce.build((batch, pooled, pooled, channels))
        self.norms[0].build((batch, pooled, pooled, AUXILIARY_CHANNELS[0]))
        self.expand.build((batch, pooled, pooled, AUXILIARY_CHANNELS[0]))
        remaining = pooled - kernel_size + 1
        self.norms[1].build((batch, remaining, remaining, AUXILIARY_CHANNELS[1]))
        self.dense.build((batch, remaining**2 * AUXILIARY_CHANNELS[1]))

    def call(self, x, training=False):
        x = ops.average_pool(ops.relu(x), self.pool_size, self.stride, padding="valid")
        x = ops.relu(self.norms[0](self.reduce(x), training=training))
        x = ops.relu(self.norms[1](self.expand(x), training=training))
        return self.dense(ops.reshape(ops.cast(x, "float32"), (-1, self.dense.kernel.shape[0])))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "stride": self.stride}


def classifier_cost(channels: int, classes: int) -> Cost:
    """Counts a `Classifier` that reads `channels` channels."""
    return Cost(channels * classes + classes, channels * classes)
