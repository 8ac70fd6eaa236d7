"""AutoAugment: the policies found on CIFAR-10 and ImageNet (Cubuk et al., arXiv:1805.09501).

For each image one of 25 sub-policies is drawn; it names two operations, each with the probability
that it is applied and a level 0..9 on the paper's ten evenly spaced magnitudes.

All operations, probabilities and levels were compared with two published copies of the tables and
are equal: `reduced_cifar10` and `reduced_imagenet` of the TensorFlow Model Garden
(official/vision/ops/augment.py), and torchvision (transforms/autoaugment.py), which leaves out the
levels of AutoContrast, Equalize and Invert as they have no effect. The authors' own release
(research/autoaugment/policies.py) has 20 of the 25 CIFAR-10 sub-policies, and they are equal too.
"""

from __future__ import annotations

import math

import tensorflow as tf

SubPolicy = tuple[tuple[str, float, int], tuple[str, float, int]]
# Tables 7 and 9 of the paper's appendix: (operation, probability, level), twice.
POLICIES: dict[str, tuple[SubPolicy, ...]] = {
    "cifar10": (
        (("Invert", 0.1, 7), ("Contrast", 0.2, 6)),
        (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
        (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
        (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
        (("AutoContrast", 0.5, 8), ("Equalize", 0.9, 2)),
        (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
        (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
        (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
        (("Equalize", 0.6, 5), ("Equalize", 0.5, 1)),
        (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
        (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
        (("Equalize", 0.3, 7), ("AutoContrast", 0.4, 8)),
        (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
        (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
        (("Solarize", 0.5, 2), ("Invert", 0.0, 3)),
        (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
        (("Equalize", 0.2, 8), ("Equalize", 0.6, 4)),
        (("Color", 0.9, 9), ("Equalize", 0.6, 6)),
        (("AutoContrast", 0.8, 4), ("Solarize", 0.2, 8)),
        (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
        (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 3)),
        (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
        (("AutoContrast", 0.9, 2), ("Solarize", 0.8, 3)),
        (("Equalize", 0.8, 8), ("Invert", 0.1, 3)),
        (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 1)),
    ),
    "imagenet": (
        (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
        (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
        (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
        (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
        (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
        (("Equalize", 0.4, 4), ("Rotate", 0.8, 8)),
        (("Solarize", 0.6, 3), ("Equalize", 0.6, 7)),
        (("Posterize", 0.8, 5), ("Equalize", 1.0, 2)),
        (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
        (("Equalize", 0.6, 8), ("Posterize", 0.4, 6)),
        (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
        (("Rotate", 0.4, 9), ("Equalize", 0.6, 2)),
        (("Equalize", 0.0, 7), ("Equalize", 0.8, 8)),
        (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
        (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
        (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
        (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
        (("Sharpness", 0.4, 7), ("Invert", 0.6, 8)),
        (("ShearX", 0.6, 5), ("Equalize", 1.0, 9)),
        (("Color", 0.4, 0), ("Equalize", 0.6, 3)),
        (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
        (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
        (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
        (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
        (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
    ),
}

# The largest shift as a share of the image's side: 10 of 32 pixels, 150 of 331.
_LARGEST_SHIFT = {"cifar10": 10 / 32, "imagenet": 150 / 331}
_TOP_LEVEL = 9
_SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")


def magnitude(operation: str, level: int, *, policy: str, side: int) -> float:
    """Returns the argument that an operation gets at a level, before its random sign.

    Policies differ in how far translations go, as a share of the image's `side` in pixels.
    """
    share = level / _TOP_LEVEL
    match operation:
        case "ShearX" | "ShearY":
            return 0.3 * share
        case "TranslateX" | "TranslateY":
            return float(round(_LARGEST_SHIFT[policy] * side * share))
        case "Rotate":
            return 30 * share
        case "Color" | "Contrast" | "Brightness" | "Sharpness":
            return 0.1 + 1.8 * share
        case "Solarize":
            return 256 * (1 - share)
        case "Posterize":
            # 8 to 4 bits; halves go up, where round() would go to the even number.
            return float(8 - math.floor(4 * share + 0.5))
        case "AutoContrast" | "Equalize" | "Invert":
            return 0.0
    raise ValueError(f"Unknown operation {operation!r}.")


def autoaugment(images: tf.Tensor, seed: tf.Tensor, policy: str) -> tf.Tensor:
    """Applies a randomly drawn sub-policy to each image; shape and dtype stay.

    The batch is taken apart by operation, so every operation runs once on the images that need it.

    Args:
      images: uint8 [batch, height, width, 3].
      seed: integers [2]; the result is a function of it and the images alone.
      policy: "cifar10" or "imagenet".
    """
    from drnet_tf.data.autoaugment_ops import OPERATIONS

    names = list(OPERATIONS)
    table = POLICIES[policy]
    batch, side = tf.shape(images)[0], images.shape[1]

    def draw(part: int) -> tf.Tensor:
        return tf.random.stateless_uniform(
            [batch], tf.random.experimental.stateless_fold_in(seed, part)
        )

    chosen = tf.cast(draw(0) * len(table), tf.int32)
    for stage in (0, 1):
        entries = [sub_policy[stage] for sub_policy in table]
        operation = tf.gather([names.index(name) for name, _, _ in entries], chosen)
        probability = tf.gather([probability for _, probability, _ in entries], chosen)
        argument = tf.gather(
            [magnitude(name, level, policy=policy, side=side) for name, _, level in entries], chosen
        )
        signed = tf.gather([name in _SIGNED for name, _, _ in entries], chosen)
        argument = tf.where(signed & (draw(2 * stage + 1) < 0.5), -argument, argument)
        applied = draw(2 * stage + 2) < probability
        groups = sorted({names.index(name) for name, _, _ in entries})
        # Group 0 is of the images that stay as they are.
        positions = [groups.index(i) + 1 if i in groups else 0 for i in range(len(names))]
        group = tf.gather(positions, operation)
        group = tf.where(applied, group, 0)
        places = tf.dynamic_partition(tf.range(batch), group, len(groups) + 1)
        parts = tf.dynamic_partition(images, group, len(groups) + 1)
        arguments = tf.dynamic_partition(argument, group, len(groups) + 1)
        for index, operation_index in enumerate(groups, start=1):
            apply = OPERATIONS[names[operation_index]]
            parts[index] = apply(parts[index], arguments[index])
        images = tf.ensure_shape(tf.dynamic_stitch(places, parts), images.shape)
    return images
