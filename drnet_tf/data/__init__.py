"""Data sets, augmentation and input pipelines.

Names are imported when they are used: `drnet_tf.data.in_memory` must load without TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drnet_tf.data.augmentation import Augmentation
    from drnet_tf.data.catalogue import Dataset, open_dataset
    from drnet_tf.data.damage import guarded
    from drnet_tf.data.errors import DataError
    from drnet_tf.data.pipeline import evaluation_batches, steps_per_epoch, training_batches

_MODULES = {
    "Augmentation": "augmentation",
    "DataError": "errors",
    "Dataset": "catalogue",
    "evaluation_batches": "pipeline",
    "guarded": "damage",
    "open_dataset": "catalogue",
    "steps_per_epoch": "pipeline",
    "training_batches": "pipeline",
}

__all__ = [
    "Augmentation",
    "DataError",
    "Dataset",
    "evaluation_batches",
    "guarded",
    "open_dataset",
    "steps_per_epoch",
    "training_batches",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
