"""DRNet in PyTorch, as plain and as good as its users would write it: what we measure against.

The same function of the same weights as `drnet_tf.models.DRNet`. Tensors are float32 [batch,
channels, height, width], in the channels_last memory format, which is the faster one here. As in
ours, branches that read one node share its ReLU and its pools.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drnet_tf.layers.branches import Pool, SeparableConv, Skip, find_branch
from drnet_tf.layers.geometry import INPUTS_PER_NODE, STEM_MULTIPLIER, CellGeometry, half
from drnet_tf.models.drnet.architecture import DRNetConfig, output_channels


def same_padding(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after that give ceil(size / stride) outputs, the odd one behind."""
    total = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
    return total // 2, total - total // 2


class Conv(nn.Conv2d):
    """Convolves without bias and with "same" padding an image of height `size`."""

    def __init__(self, inputs, outputs, kernel_size, size, stride=1, groups=1):
        before, after = same_padding(size, kernel_size, stride)
        even = before == after
        super().__init__(
            inputs,
            outputs,
            kernel_size,
            stride,
            padding=before if even else 0,
            groups=groups,
            bias=False,
        )
        self.uneven = () if even else (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.uneven) if self.uneven else x)


class Pooling(nn.Module):
    """Pools with "same" padding, which an average leaves out."""

    def __init__(self, pool: Pool, size: int, stride: int):
        super().__init__()
        before, after = same_padding(size, pool.size, stride)
        # Of a window that hangs over at the end only, ceil_mode drops what is outside.
        padding = before if before == after else 0
        options: dict[str, Any] = dict(padding=padding, ceil_mode=before != after)
        self.pool: nn.Module
        if pool.kind == "max":
            self.pool = nn.MaxPool2d(pool.size, stride, **options)
        else:
            self.pool = nn.AvgPool2d(pool.size, stride, count_include_pad=False, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x)


class EveryNthPixel(nn.Module):
    """Passes every nth pixel on: the skip connection with a stride."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x if self.stride == 1 else x[:, :, :: self.stride, :: self.stride]


class DepthwisePointwise(nn.Module):
    """Applies depthwise and pointwise convolution, batch normalization."""

    def __init__(self, channels: int, kernel_size: int, size: int, stride: int):
        super().__init__()
        self.depthwise = Conv(channels, channels, kernel_size, size, stride, groups=channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.pointwise(self.depthwise(x)))


class Separable(nn.Module):
    """Applies the separable convolution of a branch twice; its input comes after ReLU."""

    def __init__(self, channels: int, kernel_size: int, size: int, stride: int):
        super().__init__()
        out = half(size) if stride == 2 else size
        self.first = DepthwisePointwise(channels, kernel_size, size, stride)
        self.second = DepthwisePointwise(channels, kernel_size, out, 1)

    def forward(self, rectified: Tensor) -> Tensor:
        return self.second(F.relu(self.first(rectified), inplace=True))


class Preprocess(nn.Module):
    """Applies ReLU, 1x1 convolution, batch normalization; DARTS's factorized reduction."""

    def __init__(self, inputs: int, channels: int, factorized: bool):
        super().__init__()
        stride = 2 if factorized else 1
        parts = [channels // 2, channels - channels // 2] if factorized else [channels]
        self.pointwise = nn.ModuleList(
            nn.Conv2d(inputs, part, 1, stride, bias=False) for part in parts
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        if len(self.pointwise) == 1:
            return self.norm(self.pointwise[0](x))
        height = x.shape[2]
        odd = F.pad(x, (0, 1, 0, 1)) if height % 2 else x
        even, shifted = self.pointwise
        return self.norm(torch.cat([even(x), shifted(odd[:, :, 1:, 1:])], dim=1))


class RouterNet(nn.Module):
    """Weighs by both inputs of a cell: logits [batch, connections, branches]."""

    def __init__(self, channels: int, size: int, connections: int, branches: int):
        super().__init__()
        self.shape = (connections, branches)
        self.blocks = nn.ModuleList(
            [
                DepthwisePointwise(channels, 5, size, 2),
                DepthwisePointwise(channels, 5, half(size), 2),
            ]
        )
        self.dense = nn.Linear(channels, connections * branches)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(F.relu(x))
        return self.dense(x.mean((2, 3))).view(-1, *self.shape)


def gumbel_noise(like: Tensor) -> Tensor:
    return -torch.empty_like(like).exponential_().log()


def drop_routing(weights: Tensor, connection_rate: float, branch_rate: float) -> Tensor:
    """Drops branches and connections of [batch, connections, branches] at random."""
    draw = torch.rand_like(weights)
    alive = (draw >= branch_rate) | (draw >= draw.amax(-1, keepdim=True))
    weights = weights * alive
    weights = weights / (weights.sum(-1, keepdim=True) + 1e-12)
    kept = torch.rand_like(weights[..., :1]) >= connection_rate
    return weights * kept / (1 - connection_rate)


class Cell(nn.Module):
    """Nodes that sum the weighted branches of their connections."""

    def __init__(self, config: DRNetConfig, geometry: CellGeometry):
        super().__init__()
        self.node_inputs = config.node_inputs
        self.recalibration = config.recalibration if config.router == "routernet" else "none"
        self.shape = (config.connections, len(config.branches))
        channels, size = geometry.channels, geometry.size
        self.preprocess = nn.ModuleList(
            Preprocess(inputs, channels, factorized)
            for inputs, factorized in zip(
                geometry.input_channels, (geometry.factorized, False), strict=True
            )
        )
        self.router = (
            RouterNet(2 * channels, size, *self.shape) if config.router == "routernet" else None
        )
        self.branches = nn.ModuleList()
        for pair in config.node_inputs:
            for source in pair:
                size = geometry.size if source < INPUTS_PER_NODE else geometry.output_size
                stride = geometry.stride(source)
                self.branches.append(
                    nn.ModuleList(
                        make_branch(name, channels, size, stride) for name in config.branches
                    )
                )

    def route(self, states: list[Tensor], temperature: float) -> Tensor:
        if self.router is None:
            batch, branches = states[0].shape[0], self.shape[1]
            return states[0].new_full((batch, *self.shape), 1 / branches)
        logits = self.router(torch.cat(states, dim=1))
        if self.recalibration == "none":
            return torch.full_like(logits, 1 / self.shape[1])
        if self.recalibration == "gumbel_softmax" and self.training:
            logits = logits + gumbel_noise(logits)
        return F.softmax(logits / temperature, dim=-1)

    def forward(self, before, previous, temperature, connection_rate, branch_rate):
        states = [layer(x) for layer, x in zip(self.preprocess, (before, previous), strict=True)]
        recalibrated = self.route(states, temperature)
        weights = recalibrated
        if self.training:
            weights = drop_routing(weights, connection_rate, branch_rate)
        # One [batch, 1, 1, 1] for each branch.
        scales = weights.flatten(1)[:, :, None, None, None].unbind(1)
        rectified: dict[int, Tensor] = {}
        shared: dict[tuple[int, int], Tensor] = {}
        for node, pair in enumerate(self.node_inputs):
            total = None
            for i, source in enumerate(pair):
                connection = node * INPUTS_PER_NODE + i
                for index, branch in enumerate(self.branches[connection]):
                    if isinstance(branch, Separable):
                        if source not in rectified:
                            rectified[source] = F.relu(states[source])
                        output = branch(rectified[source])
                    else:
                        if (source, index) not in shared:
                            shared[source, index] = branch(states[source])
                        output = shared[source, index]
                    scale = scales[connection * self.shape[1] + index]
                    total = output * scale if total is None else torch.addcmul(total, output, scale)
            states.append(total)
        return torch.cat(states[INPUTS_PER_NODE:], dim=1), recalibrated


def make_branch(name: str, channels: int, size: int, stride: int) -> nn.Module:
    branch = find_branch(name)
    if isinstance(branch, SeparableConv):
        return Separable(channels, branch.kernel_size, size, stride)
    if isinstance(branch, Pool):
        return Pooling(branch, size, stride)
    if isinstance(branch, Skip):
        return EveryNthPixel(stride)
    raise ValueError(f"branch {name!r} has no PyTorch counterpart")


class Stem(nn.Module):
    """Leads from the image to the two inputs of the first cell."""

    def __init__(self, config: DRNetConfig):
        super().__init__()
        channels, size = config.channels, config.image_size
        widths, stride = [channels // 2, channels, channels], 2
        if config.stem == "cifar":
            widths, stride = [STEM_MULTIPLIER * channels], 1
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        inputs = 3
        for width in widths:
            self.convs.append(Conv(inputs, width, 3, size, stride))
            self.norms.append(nn.BatchNorm2d(width))
            inputs, size = width, half(size) if stride == 2 else size

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        before = x
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            before, x = x, norm(conv(F.relu(x) if index else x))
        return (x, x) if len(self.convs) == 1 else (before, x)


class AuxiliaryHead(nn.Module):
    """Classifies [batch, channels, size, size] as DARTS's auxiliary head does."""

    def __init__(self, channels: int, size: int, classes: int, stride: int):
        super().__init__()
        kernel_size = min(5, size)
        pooled = (size - kernel_size) // stride + 1
        expand_size = min(2, pooled)
        self.pool = nn.AvgPool2d(kernel_size, stride)
        self.reduce = nn.Conv2d(channels, 128, 1, bias=False)
        self.expand = nn.Conv2d(128, 768, expand_size, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(128), nn.BatchNorm2d(768)])
        self.dense = nn.Linear(768 * (pooled - expand_size + 1) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(x))
        x = F.relu(self.norms[0](self.reduce(x)), inplace=True)
        x = F.relu(self.norms[1](self.expand(x)), inplace=True)
        return self.dense(x.flatten(1))


class TorchDRNet(nn.Module):
    """Runs all branches of a DRNet, as training does.

    Args:
        config: its architecture.

    Call arguments:
        images: float32 [batch, 3, image_size, image_size] in 0..255.
        temperature: tau of the recalibration.
        connection_rate, branch_rate: drop rates, in training only.

    Returns:
        logits and auxiliary logits, [batch, classes]; recalibrated weights [batch, cells,
        connections, branches].
    """

    def __init__(self, config: DRNetConfig):
        super().__init__()
        middle = config.cell_geometry[config.auxiliary_cell]
        self.auxiliary_cell = config.auxiliary_cell
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(config.deviation)[:, None, None])
        self.stem = Stem(config)
        self.cells = nn.ModuleList(Cell(config, geometry) for geometry in config.cell_geometry)
        self.classifier = nn.Linear(output_channels(config), config.classes)
        self.auxiliary = AuxiliaryHead(
            config.nodes * middle.channels,
            middle.output_size,
            config.classes,
            stride=3 if config.stem == "cifar" else 2,
        )

    def forward(self, images, temperature, connection_rate=0.0, branch_rate=0.0):
        before, previous = self.stem((images - self.mean) / self.deviation)
        routings, auxiliary_logits = [], None
        for index, cell in enumerate(self.cells):
            output, recalibrated = cell(before, previous, temperature, connection_rate, branch_rate)
            before, previous = previous, output
            routings.append(recalibrated)
            if index == self.auxiliary_cell:
                auxiliary_logits = self.auxiliary(output)
        logits = self.classifier(previous.mean((2, 3)))
        return logits, auxiliary_logits, torch.stack(routings, dim=1)
