"""Times several .tflite graphs in one run: blocks of some dozens of invocations take turns.

A model that is swapped in for a single invocation would run on cold caches, and graphs that are
timed one after the other would not see the same machine. Each block begins with a few invocations
that are not timed. Only the invocation is timed, not the copying of the image.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from drnet_tf.progress import Progress
from export.tflite.runner import TFLiteRunner

BLOCK = 32
UNTIMED = 3
LEAST_ROUNDS = 3


class TimedGraph:
    """Times a .tflite whose inputs are set.

    Args:
        content: of the file.
        taken: what its input of type bool, if it has one, is set to.
    """

    def __init__(self, content: bytes, taken: bool = True):
        self.interpreter = Interpreter(model_content=content, num_threads=1)
        self.interpreter.allocate_tensors()
        generator = np.random.default_rng(0)
        for tensor in self.interpreter.get_input_details():
            if tensor["dtype"] is np.bool_:
                values = np.full(tensor["shape"], taken)
            else:
                values = generator.uniform(0, 1, tensor["shape"]).astype(np.float32)
            self.interpreter.set_tensor(tensor["index"], values)
        self.seconds: list[float] = []

    def run(self) -> None:
        """Times a block of invocations."""
        for i in range(-UNTIMED, BLOCK):
            # CPU time: of a single thread that is the latency on an idle machine, and on a busy one
            # it leaves out the waiting, which would fall on the longer graphs.
            start = time.thread_time_ns()
            self.interpreter.invoke()
            if i >= 0:
                self.seconds.append(1e-9 * (time.thread_time_ns() - start))

    @property
    def microseconds(self) -> float:
        """Returns the median."""
        return 1e6 * float(np.median(self.seconds))


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Times some dozens of invocations of one graph at one threshold, image by image.

    Args:
        runner: the graph.
        threshold: T; None where nothing routes.
        images: float32 [images, image_size, image_size, 3] in 0..255.
        seconds: of each image, the times that were taken.
    """

    runner: TFLiteRunner
    threshold: float | None
    images: np.ndarray
    seconds: list[list[float]]

    @classmethod
    def of(cls, runner: TFLiteRunner, threshold: float | None, images: np.ndarray) -> Block:
        """Makes a block that has not run yet."""
        return cls(runner, threshold, images, [[] for _ in images])

    def run(self) -> None:
        """Times `BLOCK` invocations, or one of each image where there are more."""
        self.runner.set_threshold(self.threshold)
        count = len(self.images)
        for i in range(-UNTIMED, max(BLOCK, count)):
            self.runner.set_image(self.images[i % count])
            start = time.perf_counter()
            self.runner.invoke()
            if i >= 0:
                self.seconds[i % count].append(time.perf_counter() - start)

    @property
    def milliseconds(self) -> np.ndarray:
        """Returns [images], the median of each."""
        return 1e3 * np.array([np.median(values) for values in self.seconds])


def take_turns(blocks: Sequence[Block | TimedGraph], seconds: float, progress: Progress) -> None:
    """Runs all blocks one after the other, again and again.

    Args:
        seconds: for how long, about; `LEAST_ROUNDS` rounds at least.
        progress: called with the rounds done, their number, and what is being done.
    """
    start = time.monotonic()
    done, rounds = 0, LEAST_ROUNDS
    while done < rounds:
        for block in blocks:
            block.run()
        done += 1
        if done == 1:
            rounds = max(rounds, int(seconds / (time.monotonic() - start)))
        progress(done, rounds, "timing")
