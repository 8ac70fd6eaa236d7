"""The variants of DRNet, and the figures that the paper has of them."""

from __future__ import annotations

from drnet_tf.models.family import Published, Variant

_TABLE_1, _TABLE_3 = "Cai et al., Table 1", "Cai et al., Table 3"

VARIANTS = {
    # Few and wide: on 16 pixels a narrow branch costs little more than the IF around it.
    "drnet_xs": Variant(dict(cells=3, channels=24, nodes=2), ("digits",)),
    "drnet_s": Variant(
        dict(cells=5, channels=15),
        ("cifar10", "cifar100"),
        {
            "cifar10": (
                Published(0.57, 84.65, _TABLE_1),
                Published(0.46, 77.34, _TABLE_3, {"router": "none"}),
            )
        },
    ),
    "drnet_m": Variant(
        dict(cells=10, channels=20),
        ("cifar10", "cifar100"),
        {"cifar10": (Published(1.86, 267.3, _TABLE_1),)},
    ),
    "drnet_l": Variant(
        dict(cells=10, channels=32),
        ("cifar10", "cifar100", "imagenet"),
        {
            "cifar10": (Published(4.41, 603.1, _TABLE_1),),
            "imagenet": (Published(None, 485.0, "Cai et al.: 351 M are 27.63% less"),),
        },
    ),
}
