"""Dynamic Routing Networks: image classifiers in which each image runs only what it needs.

Names are imported when they are used: a process that needs the errors or the runner of a .tflite
file does not wait for Keras.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from drnet_tf import quiet

quiet.start()  # before TensorFlow is imported: its notes would hide what a command says

if TYPE_CHECKING:
    from drnet_tf.models.drnet.architecture import DRNetConfig as DRNetConfig
    from drnet_tf.models.drnet.network import DRNet as DRNet
    from drnet_tf.models.registry import build_from_config as build_from_config
    from drnet_tf.models.registry import build_model as build_model
    from drnet_tf.models.registry import list_models as list_models
    from drnet_tf.models.registry import model_config as model_config

__version__ = "0.1.0"

_MODULES = {
    "DRNet": "models.drnet.network",
    "DRNetConfig": "models.drnet.architecture",
    "build_from_config": "models.registry",
    "build_model": "models.registry",
    "list_models": "models.registry",
    "model_config": "models.registry",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
