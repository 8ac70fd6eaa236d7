"""MobileNetV2 1.0x for images of 32 x 32 (Sandler et al., CVPR 2018), the peer on the device.

2.30M parameters; 91.2M multiply-accumulates in convolutions and the dense layer (the paper of DRNet
counts 94.4M). Its weights are random: no latency depends on them. Against the version for ImageNet,
three strides of 2 are 1, so that the last feature maps are 4 x 4, and blocks of stride 1 that
change the number of channels have a 1x1 convolution as their shortcut.
"""

from __future__ import annotations

import keras
from keras import layers

IMAGE_SIZE = 32
#: Expansion, channels, blocks, stride of the first block; Table 2 of the paper of MobileNetV2.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

STEM_CHANNELS, LAST_CHANNELS = 32, 1280


def mobilenet_v2(classes: int = 10) -> keras.Model:
    """From one image, float32 [1, 32, 32, 3] in 0..255, to probabilities [1, classes]."""
    image = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), batch_size=1, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = _relu6(_normalized(layers.Conv2D(STEM_CHANNELS, 3, padding="same", use_bias=False)(x)))
    for expansion, channels, blocks, stride in STAGES:
        for block in range(blocks):
            x = _inverted_residual(x, expansion, channels, stride if block == 0 else 1)
    x = _relu6(_pointwise(x, LAST_CHANNELS))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x))


def _inverted_residual(x, expansion: int, channels: int, stride: int):
    inputs = x.shape[-1]
    y = _relu6(_pointwise(x, expansion * inputs))
    y = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(y)
    y = _pointwise(_relu6(_normalized(y)), channels)
    if stride > 1:
        return y
    return layers.Add()([y, x if inputs == channels else _pointwise(x, channels)])


def _pointwise(x, channels: int):
    return _normalized(layers.Conv2D(channels, 1, use_bias=False)(x))


def _normalized(x):
    return layers.BatchNormalization(epsilon=1e-5)(x)


def _relu6(x):
    return layers.ReLU(6.0)(x)
