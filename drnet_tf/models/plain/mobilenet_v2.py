"""MobileNetV2 (Sandler et al., CVPR 2018): the same computation for every image."""

from __future__ import annotations

import keras
from keras import ops

from drnet_tf.layers.batch_norm import BatchNorm
from drnet_tf.layers.convolution import convolution, pointwise_conv
from drnet_tf.layers.heads import Classifier
from drnet_tf.layers.stem import IMAGE_CHANNELS
from drnet_tf.models.family import Routing
from drnet_tf.models.plain.architecture import KERNEL_SIZE, MobileNetV2Config
from drnet_tf.models.plain.cost import cost_table
from drnet_tf.models.plain.inverted_residual import InvertedResidual


@keras.saving.register_keras_serializable(package="drnet_tf")
class MobileNetV2(keras.Model):
    """Classifies images without routing.

    Args:
        config: the architecture, a `MobileNetV2Config` or its dictionary.
        seed: kept for the interface; nothing in the model is random.

    Call arguments and what is returned are those of a `RoutedModel`. A threshold is without effect;
    in the `Routing`, `selected` is true, `scores` are 0, and `macs` are those of the network.
    """

    controls: dict = {}  # the schedule sets nothing

    def __init__(self, config: MobileNetV2Config | dict, seed: int | None = None, **kwargs):
        # Keras would cast images to the compute type before they are normalized, and round them.
        super().__init__(autocast=False, **kwargs)
        if not isinstance(config, MobileNetV2Config):
            config = MobileNetV2Config.from_dict(config)
        self.config: MobileNetV2Config = config
        self.seed = seed
        policy = self.dtype_policy
        self.cost = cost_table(config)
        self.stem = convolution(
            config.stem_channels, KERNEL_SIZE, config.stem_stride, name="stem", dtype=policy
        )
        self.stem_norm = BatchNorm(name="stem_norm", dtype=policy)
        self.blocks = [
            InvertedResidual(block, name=f"block_{index}", dtype=policy)
            for index, block in enumerate(config.blocks)
        ]
        self.last = pointwise_conv(config.last_channels, name="last", dtype=policy)
        self.last_norm = BatchNorm(name="last_norm", dtype=policy)
        self.classifier = Classifier(config.classes, name="classifier", dtype=policy)

    def build(self, input_shape=None):
        config = self.config
        image = (None, config.image_size, config.image_size, IMAGE_CHANNELS)
        self.stem.build(image)
        self.stem_norm.build(self.stem.compute_output_shape(image))
        for block in self.blocks:
            block.build()
        size = config.blocks[-1].output_size
        self.last.build((None, size, size, config.blocks[-1].outputs))
        features = (None, size, size, config.last_channels)
        self.last_norm.build(features)
        self.classifier.build(features)

    def call(self, images, threshold=None, training=False):
        x = ops.cast(self.config.normalized(images), self.compute_dtype)
        x = ops.relu6(self.stem_norm(self.stem(x), training=training))
        for block in self.blocks:
            x = block(x, training=training)
        x = ops.relu6(self.last_norm(self.last(x), training=training))
        batch = (ops.shape(images)[0],)
        routing = Routing(
            selected=ops.ones(batch, "bool"),
            scores=ops.zeros(batch, "float32"),
            macs=ops.full(batch, float(self.cost.fixed.macs), "float32"),
            own={},
        )
        return self.classifier(x), routing

    def get_config(self):
        return {**super().get_config(), "config": self.config.to_dict(), "seed": self.seed}
