"""The registered models: architectures times tasks, named `<architecture>.<task>`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class PaperCount:
    """Parameters and multiply-accumulates in millions, None where the paper has none."""

    params: float | None = None
    macs: float | None = None


#: Tables 1 and 3. The row for ImageNet follows from "351 M, 27.63% less".
PAPER = {
    "drnet_s.cifar10": PaperCount(0.57, 84.65),
    "drnet_m.cifar10": PaperCount(1.86, 267.3),
    "drnet_l.cifar10": PaperCount(4.41, 603.1),
    "drnet_l.imagenet": PaperCount(None, 485.0),
}


WITHOUT_ROUTER = PaperCount(0.46, 77.34)


ARCHITECTURES = {
    # Few and wide: on 16 pixels a narrow branch costs little more than the IF around it.
    "drnet_xs": dict(cells=3, channels=24, nodes=2),
    "drnet_s": dict(cells=5, channels=15),
    "drnet_m": dict(cells=10, channels=20),
    "drnet_l": dict(cells=10, channels=32),
}


MODELS = (
    "drnet_xs.digits",
    "drnet_s.cifar10",
    "drnet_m.cifar10",
    "drnet_l.cifar10",
    "drnet_s.cifar100",
    "drnet_m.cifar100",
    "drnet_l.cifar100",
    "drnet_l.imagenet",
)
