"""Dynamic Routing Networks: image classifiers in which each image runs only what it needs."""

from drnet_tf import quiet

quiet.start()  # before TensorFlow is imported: its notes would hide what a command says

from drnet_tf.models import (  # noqa: E402
    DRNet,
    build_from_config,
    build_model,
    list_models,
)
from drnet_tf.models.drnet.architecture import DRNetConfig  # noqa: E402

__version__ = "0.1.0"

__all__ = ["DRNet", "DRNetConfig", "build_from_config", "build_model", "list_models"]
