"""The separable convolutions of several connections, run together."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.convolution import depthwise_initializer, pointwise_initializer

APPLICATIONS = 2


@keras.saving.register_keras_serializable(package="drnet_tf")
class SeparableConvs(keras.layers.Layer):
    """Depthwise, pointwise, normalization, ReLU, and the first three again, for each member.

    The members are independent of each other and have weights of their own; what they share is
    the execution: their pointwise convolutions are one batched matrix product, and their
    normalizations one operation.

    Build it with the shape of one member before the first call.

    Args:
        kernel_sizes: of the depthwise convolutions of each member.
        strides: of the first depthwise convolution of each member; all outputs have one size.

    Call arguments:
        inputs: one tensor for each member, float [batch, height, width, channels], after ReLU.
        training: as everywhere in Keras.

    Returns:
        One float [batch, height / stride, width / stride, channels] for each member.
    """

    def __init__(self, kernel_sizes, strides, **kwargs):
        super().__init__(**kwargs)
        self.kernel_sizes = tuple(kernel_sizes)
        self.strides = tuple(strides)

    @property
    def members(self) -> int:
        return len(self.kernel_sizes)

    def build(self, input_shape):
        """Creates the weights; `input_shape` is that of any member."""
        channels = input_shape[-1]
        self.depthwise, self.pointwise, self.norm = [], [], []
        for i in range(APPLICATIONS):
            # One weight for all members of a kernel size: few large variables, not many small.
            self.depthwise.append(
                {
                    str(size): self.add_weight(
                        shape=(self.kernel_sizes.count(size), size, size, channels, 1),
                        initializer=depthwise_initializer(size),
                        name=f"depthwise_{size}x{size}_{i}",
                    )
                    for size in sorted(set(self.kernel_sizes))
                }
            )
            self.pointwise.append(
                self.add_weight(
                    shape=(self.members, channels, channels),
                    initializer=pointwise_initializer(channels),
                    name=f"pointwise_{i}",
                )
            )
            self.norm.append(BatchNorm(self.members, name=f"norm_{i}", dtype=self.dtype_policy))
            self.norm[i].build((self.members, *input_shape))

    def depthwise_kernels(self, application: int) -> list:
        """The kernel [k, k, channels, 1] of each member, in order."""
        unused = {
            size: list(ops.unstack(ops.convert_to_tensor(kernels)))
            for size, kernels in self.depthwise[application].items()
        }
        return [unused[str(size)].pop(0) for size in self.kernel_sizes]

    def call(self, inputs, training=False):
        xs = list(inputs)
        for i in range(APPLICATIONS):
            strides = self.strides if i == 0 else (1,) * self.members
            xs = [
                ops.depthwise_conv(x, kernel, stride, padding="same")
                for x, kernel, stride in zip(xs, self.depthwise_kernels(i), strides, strict=True)
            ]
            x = ops.stack(xs)
            _, _, height, width, channels = x.shape
            # Members first, pixels in rows: one matrix product a member.
            x = ops.matmul(ops.reshape(x, (self.members, -1, channels)), self.pointwise[i])
            x = ops.reshape(x, (self.members, -1, height, width, channels))
            x = self.norm[i](x, training=training)
            if i + 1 < APPLICATIONS:
                x = ops.relu(x)
            xs = ops.unstack(x)
        return list(xs)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_sizes": list(self.kernel_sizes),
            "strides": list(self.strides),
        }
