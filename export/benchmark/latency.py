"""Times an exported model, routed, against the dense graph and the static lower bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from drnet_tf.models.cost import CostTable
from drnet_tf.models.family import knob_of
from drnet_tf.progress import Progress, silent
from drnet_tf.runs.workdir import Trained
from export.folder.export import Export
from export.graphs.graph import RoutedGraph, graph_of
from export.graphs.plan import DENSE, only
from export.tflite.converter import to_tflite
from export.tflite.runner import TFLiteRunner
from export.tflite.timing import Block, take_turns


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Holds latencies at one threshold; milliseconds per image.

    Args:
        threshold: T; None for a model without routing.
        images: how many were timed.
        macs_ratio: mean multiply-accumulates of the images to those of all units.
        routed_median_ms, routed_p90_ms, routed_p99_ms: of the exported model.
        dense_median_ms, dense_p90_ms, dense_p99_ms: of a graph that runs all units; None where the
            exported model is that.
        ratio: routed median to dense median; None likewise.
        static_images: for how many images a graph of only their units was timed.
        static_median_ms: of these graphs; None where there are none.
        static_ratio: median over these images of routed to static.
    """

    threshold: float | None
    images: int
    macs_ratio: float
    routed_median_ms: float
    routed_p90_ms: float
    routed_p99_ms: float
    dense_median_ms: float | None
    dense_p90_ms: float | None
    dense_p99_ms: float | None
    ratio: float | None
    static_images: int
    static_median_ms: float | None
    static_ratio: float | None


def benchmark(
    trained: Trained,
    export: Export,
    images: np.ndarray,
    thresholds: Sequence[float | None],
    seconds: float = 10.0,
    static_images: int = 0,
    progress: Progress = silent,
    dense_model: bytes | None = None,
) -> list[BenchmarkResult]:
    """Times the export of a model.

    Args:
        images: float32 [images, image_size, image_size, 3] in 0..255.
        thresholds: values of T; one None for a model without routing.
        seconds: how long to time, for each threshold.
        static_images: for how many images, at each threshold, to convert and time a graph of only
            the units that they select. Each conversion takes some seconds.
        dense_model: the .tflite that runs all units, where it has been made already.

    Returns:
        A result for each threshold.
    """
    images = export.check_images(images)
    runner = TFLiteRunner(export.tflite)
    cost = trained.model.cost
    if not runner.routed:
        block = Block.of(runner, None, images)
        take_turns([block], seconds, progress)
        return [_Timing(block, [], None).result(cost, None)]
    graph = graph_of(trained.model)
    selected = [runner.run_all(images, threshold).selected for threshold in thresholds]
    conversions = 1 + sum(len(_sample(cost, masks, static_images)) for masks in selected)
    progress(0, conversions, "converting")
    everything = knob_of(trained.run.family).everything
    dense = Block.of(TFLiteRunner(dense_model or to_tflite(graph, DENSE)), everything, images)
    converted = 1
    timings = []
    for threshold, masks in zip(thresholds, selected, strict=True):
        timing = _Timing(Block.of(runner, threshold, images), [], masks)
        for i in _sample(cost, masks, static_images):
            progress(converted, conversions, "converting")
            timing.add_static(graph, i)
            converted += 1
        timings.append(timing)
    blocks = [dense] + [block for timing in timings for block in timing.blocks]
    take_turns(blocks, seconds * len(timings), progress)
    return [timing.result(cost, dense) for timing in timings]


@dataclasses.dataclass(frozen=True, eq=False)
class _Timing:
    """Holds what is timed at one threshold.

    Args:
        routed: the exported model on all images.
        pairs: for single images the static graph of its units, and the exported model.
        selected: bool [images, *units]; None where nothing routes.
    """

    routed: Block
    pairs: list[tuple[Block, Block]]
    selected: Any

    @property
    def blocks(self) -> list[Block]:
        return [self.routed, *(block for pair in self.pairs for block in pair)]

    def add_static(self, graph: RoutedGraph, index: int) -> None:
        """Adds the static graph of an image."""
        runner = TFLiteRunner(to_tflite(graph, only(self.selected[index])))
        image, threshold = self.routed.images[index : index + 1], self.routed.threshold
        self.pairs.append(
            (Block.of(runner, threshold, image), Block.of(self.routed.runner, threshold, image))
        )

    def result(self, cost: CostTable, dense: Block | None) -> BenchmarkResult:
        """Summarizes the times; `dense` is None where the exported model runs all units."""
        times = _percentiles("routed", self.routed) | _percentiles("dense", dense)
        static_ms = [alone.milliseconds[0] for alone, _ in self.pairs]
        ratios = [both.milliseconds[0] / alone.milliseconds[0] for alone, both in self.pairs]
        ratio = 1.0
        if self.selected is not None:
            ratio = float(cost.of_selection(self.selected)[1].mean() / cost.total.macs)
        return BenchmarkResult(
            threshold=self.routed.threshold,
            images=len(self.routed.images),
            macs_ratio=ratio,
            **times,
            ratio=times["routed_median_ms"] / times["dense_median_ms"] if dense else None,
            static_images=len(self.pairs),
            static_median_ms=float(np.median(static_ms)) if static_ms else None,
            static_ratio=float(np.median(ratios)) if ratios else None,
        )


def _percentiles(graph: str, block: Block | None) -> dict[str, Any]:
    """Computes the fields of a `BenchmarkResult` that are of one graph; None without one."""
    names = [f"{graph}_{name}_ms" for name in ("median", "p90", "p99")]
    if block is None:
        return dict.fromkeys(names)
    return dict(zip(names, np.percentile(block.milliseconds, (50, 90, 99)).tolist(), strict=True))


def _sample(cost: CostTable, selected: np.ndarray, count: int) -> list[int]:
    """Chooses images with distinct selections, evenly over the range of costs."""
    _, first = np.unique(selected.reshape(len(selected), -1), axis=0, return_index=True)
    macs = cost.of_selection(selected[first])[1]
    ordered = first[np.argsort(macs, kind="stable")]
    count = min(count, len(ordered))
    return [int(ordered[(2 * i + 1) * len(ordered) // (2 * count)]) for i in range(count)]
