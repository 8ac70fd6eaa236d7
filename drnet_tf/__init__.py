"""Dynamic Routing Networks: image classifiers in which each image runs only what it needs."""

from drnet_tf.architecture import DRNetConfig
from drnet_tf.models import DRNet, build_from_config, build_model, list_models

__version__ = "0.1.0"

__all__ = ["DRNet", "DRNetConfig", "build_from_config", "build_model", "list_models"]
