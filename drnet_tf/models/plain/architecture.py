"""The architecture of MobileNetV2 as data (Sandler et al., CVPR 2018, Table 2)."""

from __future__ import annotations

import dataclasses
import functools
import math

from drnet_tf.errors import require
from drnet_tf.layers.geometry import half
from drnet_tf.models.config import Config, pixels

STEMS = ("cifar", "imagenet")
#: Expansion, channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

#: The stage whose stride is 1 for images of CIFAR's size, as is that of the first convolution.
_CIFAR_UNSTRIDED_STAGE = 1
STEM_CHANNELS, LAST_CHANNELS = 32, 1280
KERNEL_SIZE = 3
#: What is added to the output of a block.
NONE, IDENTITY, CONVOLUTION = "none", "identity", "convolution"


@dataclasses.dataclass(frozen=True)
class Block:
    """Holds the shapes of an inverted residual block; all feature maps are square.

    Args:
        inputs: channels that it reads.
        expanded: channels of its depthwise convolution.
        outputs: channels that it gives.
        stride: of the depthwise convolution.
        size: height of what it reads.
        expands: whether a 1x1 convolution with normalization makes the expanded channels.
        shortcut: "none", "identity" or "convolution" (1x1, normalized).
    """

    inputs: int
    expanded: int
    outputs: int
    stride: int
    size: int
    expands: bool
    shortcut: str

    @property
    def output_size(self) -> int:
        """Returns the height of what it gives."""
        return half(self.size) if self.stride == 2 else self.size


@dataclasses.dataclass(frozen=True)
class MobileNetV2Config(Config):
    """Holds everything that defines a MobileNetV2.

    Args:
        width: multiplier of all channels, which are rounded to multiples of 8; those of the last
            convolution are not multiplied by less than 1.
        stem: "imagenet" (the paper's strides and blocks), or "cifar" for small images: the first
            two strides are 1, the first block has its 1x1 convolution too, and blocks of stride 1
            that change the number of channels have a 1x1 convolution as their shortcut.
    """

    width: float = 1.0
    stem: str = dataclasses.field(default="cifar", metadata={"choices": STEMS})
    mean: tuple[float, float, float] = pixels()
    deviation: tuple[float, float, float] = pixels()

    def __post_init__(self):
        super().__post_init__()
        positive = isinstance(self.width, int | float) and 0 < self.width < math.inf
        require(positive, "width must be a number of more than 0", self.width)

    @property
    def stem_channels(self) -> int:
        """Returns the channels of the first convolution."""
        return multiple_of_8(STEM_CHANNELS * self.width)

    @property
    def stem_stride(self) -> int:
        """Returns the stride of the first convolution."""
        return 1 if self.stem == "cifar" else 2

    @property
    def last_channels(self) -> int:
        """Returns the channels of the last convolution, which the classifier reads."""
        return multiple_of_8(LAST_CHANNELS * max(1.0, self.width))

    @functools.cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Returns the blocks in order."""
        return tuple(_blocks(self))


def multiple_of_8(channels: float) -> int:
    """Rounds to a multiple of 8, at least 8 and never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _blocks(config: MobileNetV2Config):
    cifar = config.stem == "cifar"
    inputs, size = config.stem_channels, config.image_size
    size = size if cifar else half(size)
    for stage, (expansion, channels, count, first_stride) in enumerate(STAGES):
        outputs = multiple_of_8(channels * config.width)
        for index in range(count):
            unstrided = index > 0 or (cifar and stage == _CIFAR_UNSTRIDED_STAGE)
            stride = 1 if unstrided else first_stride
            shortcut = NONE
            if stride == 1 and inputs == outputs:
                shortcut = IDENTITY
            elif stride == 1 and cifar:
                shortcut = CONVOLUTION
            expands = cifar or expansion > 1
            block = Block(inputs, expansion * inputs, outputs, stride, size, expands, shortcut)
            yield block
            inputs, size = outputs, block.output_size
