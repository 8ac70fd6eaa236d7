"""Times dispatching a batch to branches: gather the images that select one, run, scatter.

    python -m benchmarks.batched_dispatch --workdir=RUN --thresholds=0,0.5,0.8 --batch_sizes=1,8,64

TensorFlow on all cores, as TF Serving runs the SavedModel, on real test images; graphs take turns.
`moving` is the dispatched graph without its separable convolutions: what gathering, scattering and
the rest of the network take. The SavedModel runs all branches of a batch, for the reason that this
shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags
from rich.table import Table

from drnet_tf import command_line
from drnet_tf.data.evaluation_images import first_images
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table
from drnet_tf.evaluation.trained import open_run_images
from drnet_tf.flags import (
    check_json,
    define_json_flag,
    define_run_flags,
    define_thresholds_flag,
    read_thresholds,
    require_flags,
    write_result,
)
from drnet_tf.layers.branches import find_branch, is_parameter_free
from drnet_tf.machine import machine_facts
from drnet_tf.models.drnet.network import DRNet
from drnet_tf.progress import Progress, ProgressBar, silent
from drnet_tf.runs.workdir import Trained, load_trained
from export.flags import require_tensorflow
from export.graphs import layers as folded_layers
from export.graphs.drnet.folding import read_weights
from export.graphs.drnet.forward import DRNetGraph
from export.graphs.drnet.nodes import Nodes
from export.graphs.plan import DENSE

UNTIMED = 2
#: Timed where --thresholds does not say otherwise.
THRESHOLDS = (0.0, 0.5, 0.8)


class DispatchedNodes(Nodes):
    """Nodes that run each separable convolution on the images of a batch that select it."""

    #: Whether the convolutions are computed.
    computes = True

    def node(self, node: int) -> tf.Tensor:
        total = None
        for connection, branch in sorted(self.pairs(node), key=self._has_parameters):
            weight = self.weights[connection * len(self.branches) + branch]
            if self._has_parameters((connection, branch)):
                if total is None:
                    raise UserError("there must be a branch without parameters to add to")
                total = self._dispatched(total, connection, branch, weight)
            else:
                term = self.branch(connection, branch)() * weight
                total = term if total is None else total + term
        return total

    def _has_parameters(self, pair: tuple[int, int]) -> bool:
        return not is_parameter_free(self.branches[pair[1]])

    def _dispatched(self, total, connection: int, branch: int, weight) -> tf.Tensor:
        source = self.config.sources[connection]
        state, stride = self.states[source], self.cell.geometry.stride(source)
        rectified = self.share(("relu", source), lambda: tf.nn.relu(state))
        images = tf.where(weight[:, 0, 0, 0] > 0)
        weights = self.cell.separable[connection, branch]

        def add():
            chosen = tf.gather(rectified, images[:, 0])
            if self.computes:
                result = folded_layers.separable_conv(chosen, weights, stride)
            else:
                result = chosen[:, ::stride, ::stride]
            result *= tf.gather(weight, images[:, 0])
            return tf.tensor_scatter_nd_add(total, images, result)

        # A strided depthwise convolution of no images has the wrong shape.
        return tf.cond(tf.size(images) > 0, add, lambda: total)


class MovedNodes(DispatchedNodes):
    """Computes the same without the convolutions."""

    computes = False


class DispatchedGraph(DRNetGraph):
    """Makes a network with these nodes."""

    def nodes(self, plan, index, states, selected, weights) -> tf.Tensor:
        return DispatchedNodes(self, plan, index, states, selected, weights).output()


class MovedGraph(DRNetGraph):
    """Makes a network with these."""

    def nodes(self, plan, index, states, selected, weights) -> tf.Tensor:
        return MovedNodes(self, plan, index, states, selected, weights).output()


GRAPHS = {"dense": DRNetGraph, "dispatched": DispatchedGraph, "moving": MovedGraph}


def graphs(trained: Trained) -> dict[str, Callable]:
    """Compiles functions from images and a threshold to the outputs of a graph."""
    network = read_weights(trained.model)
    size = network.config.image_size
    signature = [tf.TensorSpec([None, size, size, 3]), tf.TensorSpec([1])]

    def compiled(kind: type[DRNetGraph]) -> Callable:
        graph = kind(**vars(network))

        @tf.function(autograph=False, input_signature=signature)
        def classify(images, threshold):
            return graph.forward(images, threshold, DENSE)

        return classify

    return {name: compiled(kind) for name, kind in GRAPHS.items()}


def compare(
    trained: Trained,
    images: np.ndarray,
    thresholds: Sequence[float | None],
    batch_sizes: Sequence[int],
    rounds: int,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Times the graphs.

    Args:
        images: float32 [images, image_size, image_size, 3] in 0..255, as many as the largest batch.
        rounds: how often each graph runs, in turns.

    Returns:
        For each threshold and batch size the `share` of separable convolutions that are selected,
        the median milliseconds of a batch of each graph, and `gain`, dense to dispatched.
    """
    functions = graphs(trained)
    names = trained.model.config.branches
    parametric = [not is_parameter_free(find_branch(name)) for name in names]
    rows: list[dict[str, Any]] = []
    total = len(thresholds) * len(batch_sizes)
    for threshold in thresholds:
        for batch_size in batch_sizes:
            progress(len(rows), total, "timing")
            batch, given = tf.constant(images[:batch_size]), tf.constant([threshold], tf.float32)
            seconds: dict[str, list[float]] = {name: [] for name in functions}
            for turn in range(-UNTIMED, rounds):
                for name, function in functions.items():
                    start = time.perf_counter()
                    outputs = function(batch, given)
                    outputs["logits"].numpy()
                    if turn >= 0:
                        seconds[name].append(time.perf_counter() - start)
                    if name == "dense":
                        selected = outputs["selected"]
            medians = {name: 1e3 * float(np.median(times)) for name, times in seconds.items()}
            rows.append(
                {
                    "threshold": threshold,
                    "batch_size": batch_size,
                    "share": float(selected.numpy()[..., parametric].mean()),
                    "milliseconds": medians,
                    "gain": medians["dense"] / medians["dispatched"],
                }
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """Makes a table with a line for each row of `compare`."""
    cells = [
        {
            "T": f"{row['threshold']:g}",
            "batch": str(row["batch_size"]),
            "convolutions run": f"{row['share']:.2f}",
            **{name: f"{row['milliseconds'][name]:.2f}" for name in GRAPHS},
            "dense / dispatched": f"{row['gain']:.2f}",
        }
        for row in rows
    ]
    return cells_table(cells, "ms per batch, TensorFlow, all cores")


def define_flags() -> None:
    define_run_flags()
    define_thresholds_flag()
    flags.DEFINE_list("batch_sizes", "1,8,64", "Images in a batch.")
    flags.DEFINE_integer("rounds", 20, "How often each graph runs.", lower_bound=1)
    define_json_flag()


def main() -> None:
    values = flags.FLAGS
    require_flags(workdir="a training run")
    if not all(size.isdecimal() and int(size) for size in values.batch_sizes):
        raise UserError("--batch_sizes must be whole numbers of at least 1, with commas between")
    sizes = [int(size) for size in values.batch_sizes]
    check_json()
    require_tensorflow()
    trained = load_trained(values.workdir)
    if not isinstance(trained.model, DRNet):
        raise UserError(f"{trained.run.model} has no branches to dispatch to: it is no DRNet")
    given = values.thresholds is not None
    thresholds = read_thresholds(trained.run.family) if given else THRESHOLDS
    images = first_images(open_run_images(trained.run, values.data_dir), "test", max(sizes))
    with ProgressBar("dispatch") as bar:
        rows = compare(trained, images, thresholds, sizes, values.rounds, bar.update)
    command_line.show(table(rows))
    write_result(trained, {"machine": machine_facts(), "rows": rows})


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
