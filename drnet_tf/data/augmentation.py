"""What is done to training images, as a value.

The description is apart from the operations: `crop_flip_cutout` and `autoaugment` carry it out in
tf.data, `in_memory` on the accelerator. This file needs no TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from drnet_tf.errors import require

AUTOAUGMENT_POLICIES = ("cifar10", "imagenet")
# Mean pixel of the CIFAR-10 training images, red, green, blue in 0..255.
CIFAR10_MEAN = (125.3, 123.0, 113.9)


@dataclass(frozen=True)
class Augmentation:
    """Describes random changes to a training image, applied in this order.

    Args:
      random_resized_crop: whether to cut out 8% to 100% of the area at an aspect ratio of 3/4 to
        4/3 and resize it to the image size (ImageNet); otherwise images are resized whole, or
        centre cropped if they are not square.
      autoaugment: the published AutoAugment policy, "cifar10" or "imagenet", or none.
      flip: whether to mirror left to right with probability one half.
      crop_padding: pixels of black padding on each side, from which the image is cropped at random
        (the image shifts by up to that many pixels).
      cutout: side in pixels of a square that is erased around a random centre; at a border only
        the part inside the image is.
      fill: the value of erased pixels, red, green and blue in 0..255; the mean of the data, so
        that a normalized image is zero there.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0
    autoaugment: str | None = field(
        default=None, metadata={"choices": ("none", *AUTOAUGMENT_POLICIES)}
    )
    random_resized_crop: bool = False
    fill: tuple[float, float, float] = field(default=CIFAR10_MEAN, metadata={"flag": False})

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout"):
            require(getattr(self, name) >= 0, f"{name} must be 0 or more", getattr(self, name))
        require(
            self.autoaugment in (None, *AUTOAUGMENT_POLICIES),
            f"autoaugment must be None or one of {', '.join(AUTOAUGMENT_POLICIES)}",
            self.autoaugment,
        )
        require(len(self.fill) == 3, "fill must be three values in 0..255", self.fill)
        # JSON gives a list back.
        object.__setattr__(self, "fill", tuple(self.fill))
