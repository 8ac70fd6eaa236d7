"""What defines a training run beside its recipe, augmentation and architecture."""

from __future__ import annotations

import dataclasses
import math

from drnet_tf.errors import UserError

#: float16 would need its loss scaled.
DTYPES = ("float32", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class Settings:
    """On what, how exactly and how watched a run goes.

    Args:
        data_dir: of the prepared data set; None is the default of tensorflow-datasets.
        input_pipeline: "tfdata", or "device" for a small set that stays on the accelerator.
        train_on_validation: train on the validation images too.
        seed: of initial weights, noise, order and augmentation.
        deterministic: the same bits every time, at some cost of speed.
        resource: what E[R] counts, "flops", "params" or "latency".
        latency_table: file of measured latencies, for resource "latency"; a run that goes on has
            its own.
        initial_weights: workdir of another run of this architecture, whose weights this one begins
            with; None for random ones.
        dtype: a Keras dtype policy.
        checkpoint_minutes: between checkpoints within an epoch; 0 for none.
        validate_epochs: between looks at the accuracy on the validation images, where there are
            some that are not trained on, and at the branches that are selected; 0 for none.
        distribution: over which devices, one of `DISTRIBUTIONS`; the docstrings of
            tensorflow_placement and jax_placement say what each is.
    """

    data_dir: str | None = None
    input_pipeline: str = "tfdata"
    train_on_validation: bool = False
    seed: int = 0
    deterministic: bool = False
    resource: str = "flops"
    latency_table: str | None = None
    initial_weights: str | None = None
    dtype: str = "float32"
    checkpoint_minutes: float = 10.0
    validate_epochs: int = 1
    distribution: str = "auto"

    def __post_init__(self):
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed must be between 0 and {2**32 - 1}, not {self.seed}")
        if self.dtype not in DTYPES:
            raise UserError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype}")
        if self.latency_table and self.resource != "latency":
            raise UserError(
                f"latency_table goes with --resource=latency, not --resource={self.resource}"
            )
        if not 0 <= self.checkpoint_minutes < math.inf:
            raise UserError(f"checkpoint_minutes must be 0 or more, not {self.checkpoint_minutes}")
        if self.validate_epochs < 0:
            raise UserError(f"validate_epochs must be 0 or more, not {self.validate_epochs}")
