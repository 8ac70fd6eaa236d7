"""Dynamic Routing Networks: image classifiers in which each image runs only what it needs."""

import os

# Before TensorFlow is imported: its start-up notes would hide what a command says.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from drnet_tf.models import (
    DRNet,
    build_from_config,
    build_model,
    list_models,  # noqa: E402
)
from drnet_tf.models.drnet.architecture import DRNetConfig  # noqa: E402

__version__ = "0.1.0"

__all__ = ["DRNet", "DRNetConfig", "build_from_config", "build_model", "list_models"]
