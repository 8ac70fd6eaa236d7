"""The separable convolutions of several connections, run together and weighted (Eq. 3)."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.convolution import depthwise_initializer, pointwise_initializer
from drnet_tf.layers.devices import Devices
from drnet_tf.layers.pointwise_norm import PointwiseNorm

APPLICATIONS = 2


@keras.saving.register_keras_serializable(package="drnet_tf")
class SeparableConvs(keras.layers.Layer):
    """Runs depthwise, pointwise, norm, ReLU, and the first three again, for each member.

    The members are independent of each other and have weights of their own; what they share is
    the arithmetic on their weights. An image's weight of a branch goes into the last pointwise
    convolution, which is linear: w (x K + o) = x (w K) + w o.

    Build it with the shape of one member before the first call.

    Args:
        kernel_sizes: of the depthwise convolutions of each member.
        strides: of the first depthwise convolution of each member; all outputs have one size.

    Call arguments:
        inputs: one tensor for each member, float [batch, height, width, channels], after ReLU.
        weights: float32 [batch, members], what to multiply each member's output with.
        training: as everywhere in Keras.

    Returns:
        One float [batch, height / stride, width / stride, channels] for each member, and what to
        add to it, float32 [batch, members, channels]: apart, because whoever sums outputs can
        sum the small ones first.
    """

    def __init__(self, kernel_sizes, strides, **kwargs):
        # Keras would cast the weights of the branches and the kernels to be folded.
        super().__init__(autocast=False, **kwargs)
        self.kernel_sizes = tuple(kernel_sizes)
        self.strides = tuple(strides)
        self.depthwise_conv = depthwise_conv

    def adapt_to(self, devices: Devices) -> None:
        """Uses the depthwise convolution that is fastest in training on the devices."""
        self.depthwise_conv = devices.depthwise_conv or depthwise_conv

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
            self.norm.append(PointwiseNorm(self.members, name=f"norm_{i}", dtype=self.dtype_policy))
            self.norm[i].build(input_shape)

    def depthwise_kernels(self, application: int) -> list:
        """Lists the kernel [k, k, channels, 1] of each member, in order."""
        unused = {
            size: list(ops.unstack(ops.convert_to_tensor(kernels)))
            for size, kernels in self.depthwise[application].items()
        }
        return [unused[str(size)].pop(0) for size in self.kernel_sizes]

    def call(self, inputs, weights, training=False):
        for i in range(APPLICATIONS):
            strides = self.strides if i == 0 else (1,) * self.members
            xs = [
                self.depthwise_conv(x, ops.cast(kernel, x.dtype), stride)
                for x, kernel, stride in zip(
                    inputs, self.depthwise_kernels(i), strides, strict=True
                )
            ]
            kernels, offsets = self.norm[i](xs, self.pointwise[i], training=training)
            if i + 1 < APPLICATIONS:
                inputs = [ops.relu(y) for y in _affine(xs, kernels, offsets)]
        # A kernel for each image: [members, batch, channels, channels].
        columns = ops.expand_dims(ops.transpose(weights), (2, 3))
        outputs = _products(xs, columns * ops.expand_dims(kernels, 1))
        return outputs, ops.expand_dims(weights, 2) * offsets

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_sizes": list(self.kernel_sizes),
            "strides": list(self.strides),
        }


def depthwise_conv(x, kernel, stride):
    """Computes a depthwise convolution with "same" padding."""
    return ops.depthwise_conv(x, kernel, stride, padding="same")


def _products(xs, kernels):
    """Convolves xs pointwise with kernels [members, batch, channels, outputs]."""
    _, height, width, channels = xs[0].shape
    outputs = []
    for x, kernel in zip(xs, ops.unstack(kernels), strict=True):
        y = ops.matmul(ops.reshape(x, (-1, height * width, channels)), ops.cast(kernel, x.dtype))
        outputs.append(ops.reshape(y, (-1, height, width, kernel.shape[-1])))
    return outputs


def _affine(xs, kernels, offsets):
    """Convolves xs pointwise with kernels [members, channels, outputs], and adds offsets."""
    _, height, width, channels = xs[0].shape
    # Rows of width * channels numbers: see batch_norm.
    offsets = ops.unstack(ops.tile(offsets, (1, width)))
    outputs = []
    for x, kernel, offset in zip(xs, ops.unstack(kernels), offsets, strict=True):
        y = ops.matmul(ops.reshape(x, (-1, channels)), ops.cast(kernel, x.dtype))
        y = ops.reshape(y, (-1, width * kernel.shape[-1])) + ops.cast(offset, x.dtype)
        outputs.append(ops.reshape(y, (-1, height, width, kernel.shape[-1])))
    return outputs
