"""What a data set asks of a model."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Task:
    """Says what a data set asks of a model.

    Args:
        image_size: height and width in pixels.
        classes: number of classes.
        stem: "cifar" for small images, "imagenet" for large ones.
        mean, deviation: of each colour channel, on 0..255.
    """

    image_size: int
    classes: int
    stem: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


_GREY = (127.5, 127.5, 127.5)

TASKS = {
    "digits": Task(16, 10, "cifar", _GREY, _GREY),
    "cifar10": Task(32, 10, "cifar", (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)),
    "cifar100": Task(32, 100, "cifar", (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)),
    "imagenet": Task(224, 1000, "imagenet", (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)),
}
