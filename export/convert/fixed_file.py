"""Writes a file without routing: the most used branches of each connection, for all images.

Delegates for GPUs and NPUs take no IF. `model_static.tflite` has none, and none of the branches
that images seldom select; the weights of the kept ones are the router's, of each image, divided by
their sum. (Constant weights, the means over images, were less accurate: on the digits model at
T=0.8, three branches a connection, 93.0% of 1,000 training images against 99.5%.)
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np

from drnet_tf.data.evaluation_images import EvaluationImages
from drnet_tf.errors import UserError
from drnet_tf.models.family import RoutedModel
from drnet_tf.progress import Progress
from export.convert.branch_use import BATCH, counting_images, select_all
from export.graphs.graph import RoutedGraph
from export.graphs.plan import fixed
from export.tflite.converter import to_tflite
from export.tflite.runner import TFLiteRunner
from export.tflite.threads import in_threads, worker_count

#: The rule that keeps as many branches of each connection as images select on average, rounded up.
MOST_USED = "most_used"
WEIGHTS = "router"


@dataclasses.dataclass(frozen=True)
class FixedRequest:
    """Says which fixed file to write.

    Args:
        threshold: T at which the use of branches is counted.
        branches: MOST_USED, or how many of each connection to keep.
        dataset: its validation images, or where they were trained on its training images, tell
            which branches are used; its test images, how accurate the file is.
        images: how many of them to count on, the first ones.
    """

    threshold: float
    branches: str | int
    dataset: EvaluationImages
    images: int = 1000


def write_fixed_file(
    model: RoutedModel,
    graph: RoutedGraph,
    request: FixedRequest,
    path: pathlib.Path,
    routed: pathlib.Path,
    progress: Progress,
) -> dict[str, Any]:
    """Writes a fixed file and compares it with the routed one on the test images.

    Args:
        model: whose branches are counted; `graph` is of it.
        path: to write.
        routed: the .tflite with routing.
        progress: called with the test images that were classified, their number, and what is being
            done.

    Returns:
        What model.json says of it, see model_schema.json.
    """
    images, split = counting_images(request.dataset, request.images)
    total = request.dataset.count("test")
    progress(0, total, f"counting the branches that {len(images)} images select")
    selected, recalibrated = select_all(model, images, request.threshold)
    kept = kept_branches(selected, recalibrated, request.branches)
    progress(0, total, f"converting to {path.name}")
    path.write_bytes(to_tflite(graph, fixed(kept)))
    return {
        "threshold": float(request.threshold),
        "branches": str(request.branches),
        "weights": WEIGHTS,
        "kept": kept.astype(int).tolist(),
        "macs": int(model.cost.of_selection(kept)[1]),
        "calibration": {"split": split, "images": len(images)},
        "accuracy": compare(path, routed, request, progress),
    }


def kept_branches(
    selected: np.ndarray, recalibrated: np.ndarray, branches: str | int
) -> np.ndarray:
    """Finds the branches that a fixed file keeps: those most often selected of each connection.

    Where two are selected equally often, the one of more mean weight comes first, then the one of
    lower index. Every connection keeps the same number: with one cut-off in use for all, some keep
    a single branch, and accuracy breaks down.

    Args:
        selected, recalibrated: [images, cells, connections, branches].
        branches: MOST_USED, or how many of each connection.

    Returns:
        bool [cells, connections, branches].
    """
    use = selected.mean(axis=0)
    if branches == MOST_USED:
        # Whole counts: a mean in floats could lie a hair above a whole number.
        count = -(-int(selected.sum()) // selected[..., 0].size)
    else:
        count = min(int(branches), use.shape[-1])
    order = np.lexsort((-recalibrated.mean(axis=0), -use), axis=-1)
    kept = np.zeros(use.shape, bool)
    np.put_along_axis(kept, order[..., :count], True, axis=-1)
    return kept


def compare(
    path: pathlib.Path, routed: pathlib.Path, request: FixedRequest, progress: Progress
) -> dict[str, Any]:
    """Measures the fixed and the routed file on the test images, with LiteRT on all cores."""
    total = request.dataset.count("test")

    def examples():
        for pixels, labels in request.dataset.batches("test", BATCH):
            yield from zip(pixels, labels, strict=True)

    def classify(runners, example):
        image, label = example
        outputs = runners[1].run(image, request.threshold)
        return (
            runners[0].run(image).probabilities.argmax() == label,
            outputs.probabilities.argmax() == label,
            outputs.flops,
        )

    results = []
    for result in in_threads(
        lambda: (TFLiteRunner(path), TFLiteRunner(routed)), classify, examples(), worker_count(0)
    ):
        results.append(result)
        progress(len(results), total, "classifying test images")
    fixed_correct, routed_correct, macs = np.mean(np.asarray(results, np.float64), axis=0)
    return {
        "split": "test",
        "images": len(results),
        "static": float(fixed_correct),
        "routed": float(routed_correct),
        "routed_macs": float(macs),
    }


def read_branches(text: str) -> str | int:
    """Reads MOST_USED, or a number, from the value of a flag.

    Raises:
        UserError: it is neither.
    """
    if text == MOST_USED:
        return text
    if not text.isdecimal() or int(text) < 1:
        raise UserError(
            f"--static_branches must be {MOST_USED}, or how many branches of a connection to keep, "
            f"1 or more, not {text!r}"
        )
    return int(text)


def summary(facts: dict[str, Any]) -> str:
    """Says in one line what `write_fixed_file` returned."""
    accuracy = facts["accuracy"]
    return (
        f"{100 * accuracy['static']:.2f}% of {accuracy['images']} test images right at "
        f"{facts['macs'] / 1e6:.2f}M multiply-accumulates, against "
        f"{100 * accuracy['routed']:.2f}% at {accuracy['routed_macs'] / 1e6:.2f}M routed "
        f"(T={facts['threshold']:g})"
    )
