"""Models, and the table of their variants."""

from drnet_tf.models.drnet.network import DRNet
from drnet_tf.models.registry import build_from_config, build_model, list_models, model_config

__all__ = ["DRNet", "build_from_config", "build_model", "list_models", "model_config"]
