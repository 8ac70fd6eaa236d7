"""Times an exported model, routed, against the dense graph and the static lower bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.runs.workdir import Trained
from export.folder import names
from export.folder.export import check_files, check_source
from export.graphs.drnet.folding import read_weights
from export.graphs.drnet.network import Network
from export.graphs.plan import DENSE, static
from export.tflite.converter import to_tflite
from export.tflite.runner import TFLiteRunner
from export.tflite.timing import Block, take_turns


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Latencies at one threshold; milliseconds an image.

    Args:
        threshold: T.
        images: how many were timed.
        macs_ratio: mean multiply-accumulates of the images to those of all branches.
        routed_median_ms, routed_p90_ms, routed_p99_ms: of the exported model.
        dense_median_ms, dense_p90_ms, dense_p99_ms: of a graph that runs all branches.
        ratio: routed median to dense median.
        static_images: for how many images a graph of only their branches was timed.
        static_median_ms: of these graphs; None where there are none.
        static_ratio: median over these images of routed to static.
    """

    threshold: float
    images: int
    macs_ratio: float
    routed_median_ms: float
    routed_p90_ms: float
    routed_p99_ms: float
    dense_median_ms: float
    dense_p90_ms: float
    dense_p99_ms: float
    ratio: float
    static_images: int
    static_median_ms: float | None
    static_ratio: float | None

    def to_dict(self) -> dict:
        return dataclasses.asdict(self)


def benchmark(
    trained: Trained,
    export_dir: Path | str,
    images: np.ndarray,
    thresholds: Sequence[float],
    seconds: float = 10.0,
    static_images: int = 0,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
    dense_model: bytes | None = None,
) -> list[BenchmarkResult]:
    """Times the export of a model.

    Args:
        images: float32 [images, image_size, image_size, 3] in 0..255.
        thresholds: values of T.
        seconds: how long to time, for each threshold.
        static_images: for how many images, at each threshold, to convert and time a graph of only
            the branches that they select. Each conversion takes some seconds.
        progress: called with the steps done, their number, and what is being done.
        dense_model: the .tflite that runs all branches, where it has been made already.

    Returns:
        A result for each threshold.

    Raises:
        UserError: the files are not those of an export of this model, or the images do not fit.
    """
    check_files(export_dir)
    check_source(export_dir, trained)
    size = trained.model.config.image_size
    if np.ndim(images) != 4 or np.shape(images)[1:] != (size, size, 3) or not len(images):
        raise UserError(f"images must be [images, {size}, {size}, 3], not {list(np.shape(images))}")
    images = np.asarray(images, np.float32)
    network = read_weights(trained.model)
    routed = TFLiteRunner(Path(export_dir, names.TFLITE_FILE))
    selected = [routed.run_all(images, threshold).selected for threshold in thresholds]
    conversions = 1 + sum(len(_sample(trained, s, static_images)) for s in selected)
    progress(0, conversions, "converting")
    dense = Block.of(TFLiteRunner(dense_model or to_tflite(network, DENSE)), 1.0, images)
    converted = 1
    timings = []
    for threshold, masks in zip(thresholds, selected, strict=True):
        timing = _Timing(Block.of(routed, threshold, images), [], masks)
        for i in _sample(trained, masks, static_images):
            progress(converted, conversions, "converting")
            timing.add_static(network, i)
            converted += 1
        timings.append(timing)
    blocks = [dense] + [block for timing in timings for block in timing.blocks]
    take_turns(blocks, seconds * len(timings), progress)
    return [timing.result(trained, dense) for timing in timings]


@dataclasses.dataclass(frozen=True, eq=False)
class _Timing:
    """What is timed at one threshold.

    Args:
        routed: the exported model on all images.
        pairs: for single images the static graph of its branches, and the exported model.
        selected: bool [images, cells, connections, branches].
    """

    routed: Block
    pairs: list[tuple[Block, Block]]
    selected: np.ndarray

    @property
    def blocks(self) -> list[Block]:
        return [self.routed, *(block for pair in self.pairs for block in pair)]

    def add_static(self, network: Network, index: int) -> None:
        """Adds the static graph of an image."""
        runner = TFLiteRunner(to_tflite(network, static(self.selected[index])))
        image, threshold = self.routed.images[index : index + 1], self.routed.threshold
        self.pairs.append(
            (
                Block.of(runner, threshold, image),
                Block.of(self.routed.runner, threshold, image),
            )
        )

    def result(self, trained: Trained, dense: Block) -> BenchmarkResult:
        routed_ms, dense_ms = self.routed.milliseconds, dense.milliseconds
        static_ms = [alone.milliseconds[0] for alone, _ in self.pairs]
        ratios = [both.milliseconds[0] / alone.milliseconds[0] for alone, both in self.pairs]
        macs = trained.model.cost.of_selection(self.selected)[1]
        return BenchmarkResult(
            threshold=float(self.routed.threshold),
            images=len(routed_ms),
            macs_ratio=float(macs.mean() / trained.model.cost.total.macs),
            routed_median_ms=float(np.median(routed_ms)),
            routed_p90_ms=float(np.percentile(routed_ms, 90)),
            routed_p99_ms=float(np.percentile(routed_ms, 99)),
            dense_median_ms=float(np.median(dense_ms)),
            dense_p90_ms=float(np.percentile(dense_ms, 90)),
            dense_p99_ms=float(np.percentile(dense_ms, 99)),
            ratio=float(np.median(routed_ms) / np.median(dense_ms)),
            static_images=len(self.pairs),
            static_median_ms=float(np.median(static_ms)) if static_ms else None,
            static_ratio=float(np.median(ratios)) if ratios else None,
        )


def _sample(trained: Trained, selected: np.ndarray, count: int) -> list[int]:
    """Images with distinct selections, evenly over the range of costs."""
    _, first = np.unique(selected.reshape(len(selected), -1), axis=0, return_index=True)
    macs = trained.model.cost.of_selection(selected[first])[1]
    ordered = first[np.argsort(macs, kind="stable")]
    count = min(count, len(ordered))
    return [int(ordered[(2 * i + 1) * len(ordered) // (2 * count)]) for i in range(count)]
