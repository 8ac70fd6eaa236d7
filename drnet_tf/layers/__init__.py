"""Keras layers of a DRNet, one concept of the paper a file."""

from drnet_tf.layers.branches import BRANCHES, LayerBranch, Pool, SeparableConv, Skip
from drnet_tf.layers.cell import Cell
from drnet_tf.layers.cost import Cost
from drnet_tf.layers.gumbel_softmax import Recalibration
from drnet_tf.layers.routed_connection import weighted_sum
from drnet_tf.layers.router_net import RouterNet
from drnet_tf.layers.selection import select
from drnet_tf.layers.separable_conv import SeparableConvs

__all__ = [
    "BRANCHES",
    "Cell",
    "Cost",
    "LayerBranch",
    "Pool",
    "Recalibration",
    "RouterNet",
    "SeparableConv",
    "SeparableConvs",
    "Skip",
    "select",
    "weighted_sum",
]
