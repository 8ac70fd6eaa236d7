"""A training step of `TorchDRNet`: the objective of Eq. 8, gradient clipping, SGD."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.torch_drnet import TorchDRNet
from drnet_tf.models.drnet.recipe import Recipe
from drnet_tf.models.objective import Resource
from drnet_tf.models.schedules import StepValues


def objective(
    outputs: tuple[Tensor, Tensor, Tensor],
    labels: Tensor,
    unit_resource: Tensor,
    fixed_resource: float,
    resource_weight: float,
    recipe: Recipe,
) -> Tensor:
    """Eq. 8, a scalar.

    Args:
        outputs: of a `TorchDRNet`.
        labels: int64 [batch].
        unit_resource, fixed_resource: what E[R] counts; see `Resource`.
        resource_weight: lambda.
        recipe: for the constants.
    """
    logits, auxiliary_logits, recalibrated = outputs
    correct = (logits.argmax(-1) == labels).float()
    expected = (recalibrated * unit_resource).sum((1, 2, 3)) + fixed_resource
    smoothing = recipe.label_smoothing
    return (
        F.cross_entropy(logits, labels, label_smoothing=smoothing)
        + recipe.auxiliary_weight
        * F.cross_entropy(auxiliary_logits, labels, label_smoothing=smoothing)
        + resource_weight * (correct * expected.log()).mean()
    )


class TorchStep:
    """Trains a model by one batch at a time.

    Args:
        model: is put in the channels_last memory format.
        recipe: for the constants of the objective and of SGD.
        resource: what E[R] counts.
    """

    def __init__(self, model: TorchDRNet, recipe: Recipe, resource: Resource):
        # The stubs of PyTorch lack this overload of a module's `to`.
        self.model = model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.recipe = recipe
        self.unit_resource = torch.tensor(resource.units, dtype=torch.float32)
        self.fixed_resource = float(resource.fixed)
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate1,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )

    def __call__(self, images: Tensor, labels: Tensor, values: StepValues) -> Tensor:
        """Does a step on float32 [batch, 3, height, width] in 0..255; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = values.learning_rate
        scalars = values.scalars
        outputs = self.model(
            images, scalars["temperature"], scalars["drop_connection"], scalars["drop_branch"]
        )
        loss = objective(
            outputs,
            labels,
            self.unit_resource,
            self.fixed_resource,
            scalars["resource_weight"],
            self.recipe,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        return loss.detach()
