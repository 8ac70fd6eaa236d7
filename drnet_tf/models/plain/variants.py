"""The variants of MobileNetV2, and their published figures."""

from __future__ import annotations

from drnet_tf.models.family import Published, Variant

_CIFAR = "Cai et al., Table 1"
_PAPER = "Sandler et al., Table 4"
#: github.com/tensorflow/models, research/slim/nets/mobilenet/README.md
_SLIM = "TF-Slim's table"
_TASKS = ("cifar10", "cifar100", "imagenet")


def _variant(width: float, tasks: tuple[str, ...] = _TASKS, **published) -> Variant:
    return Variant({"width": width}, tasks, {task: (row,) for task, row in published.items()})


VARIANTS = {
    # The paper's smallest.
    "mobilenet_v2_w035": _variant(0.35, ("digits", *_TASKS), imagenet=Published(1.66, 59.0, _SLIM)),
    "mobilenet_v2_w050": _variant(0.5, imagenet=Published(1.95, 97.0, _SLIM)),
    "mobilenet_v2_w075": _variant(0.75, imagenet=Published(2.61, 209.0, _SLIM)),
    "mobilenet_v2": _variant(
        1.0, cifar10=Published(2.30, 94.42, _CIFAR), imagenet=Published(3.4, 300.0, _PAPER)
    ),
}
