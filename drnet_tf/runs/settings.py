"""What defines a training run beside its recipe, augmentation and architecture."""

from __future__ import annotations

import dataclasses
import math

from drnet_tf.errors import UserError, require
from drnet_tf.models.objective import RESOURCES

#: float16 would need its loss scaled.
DTYPES = ("float32", "mixed_bfloat16")
#: Names that a resource had in earlier versions, still read.
FORMER_RESOURCES = {"flops": "macs"}
#: Where batches are made: `drnet_tf.training.feeds` says what each is.
PIPELINES = ("tfdata", "device")
#: The docstrings of training/on_tensorflow/placement.py and on_jax/placement.py say what each is.
DISTRIBUTIONS = ("auto", "one", "mirrored", "multiworker", "tpu")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Holds settings of a run that do not belong to its recipe: data, precision, seed, logging.

    Args:
        data_dir: folder of the prepared data set; none for the default of tensorflow-datasets.
        input_pipeline: "tfdata", or "device" for a small set that stays on the accelerator.
        train_on_validation: whether to train on the validation images too.
        seed: seed of initial weights, noise, order and augmentation.
        deterministic: whether to make the same bits every time, at some cost of speed.
        resource: what E[R] counts, "macs", "params" or "latency"; without effect where nothing
            routes.
        latency_table: file of measured latencies, for resource "latency"; a run that is resumed has
            its own.
        initial_weights: workdir of another run of this architecture, with whose weights this one
            begins; none for random ones.
        dtype: a Keras dtype policy.
        checkpoint_minutes: minutes between checkpoints within an epoch; 0 for none.
        validate_epochs: epochs between looks at the accuracy on the validation images, where there
            are some that are not trained on, and at the selected branches; 0 for none.
        distribution: over which devices to train.
    """

    data_dir: str | None = None
    input_pipeline: str = dataclasses.field(default="tfdata", metadata={"choices": PIPELINES})
    train_on_validation: bool = False
    seed: int = 0
    deterministic: bool = False
    resource: str = dataclasses.field(
        default="macs", metadata={"choices": (*RESOURCES, *FORMER_RESOURCES)}
    )
    latency_table: str | None = None
    initial_weights: str | None = None
    dtype: str = dataclasses.field(default="float32", metadata={"choices": DTYPES})
    checkpoint_minutes: float = 10.0
    validate_epochs: int = 1
    distribution: str = dataclasses.field(default="auto", metadata={"choices": DISTRIBUTIONS})

    def __post_init__(self):
        resource = FORMER_RESOURCES.get(self.resource, self.resource)
        object.__setattr__(self, "resource", resource)
        require(0 <= self.seed < 2**32, f"seed must be between 0 and {2**32 - 1}", self.seed)
        require(self.dtype in DTYPES, f"dtype must be one of {', '.join(DTYPES)}", self.dtype)
        if self.latency_table and self.resource != "latency":
            raise UserError(
                f"latency_table goes with --resource=latency, not --resource={self.resource}"
            )
        minutes, epochs = self.checkpoint_minutes, self.validate_epochs
        require(0 <= minutes < math.inf, "checkpoint_minutes must be 0 or more", minutes)
        require(epochs >= 0, "validate_epochs must be 0 or more", epochs)
