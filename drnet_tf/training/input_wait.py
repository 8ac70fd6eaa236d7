"""How long a training run waits for its images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

#: Share of the time of an epoch from which on the input counts as what holds the training back.
BOTTLENECK = 0.2

SLOW_INPUT = (
    "epoch {epoch}: training waited {share:.0%} of its time for images. More processor cores help, "
    "or --input_pipeline=device for a small set without AutoAugment; python -m benchmarks.pipeline "
    "times each part of the input."
)


class TimedBatches:
    """Hands out batches and adds up the time that it takes to get them.

    While a batch is awaited, the accelerator may still be busy with the step before. But a feed
    that keeps up has the next batch ready, so where there is a wait, it was the feed's.

    Attributes:
        waited: seconds until now.
        waited_first: those of them for the first batch, when the feed only begins to work.
    """

    def __init__(self, batches: Iterable[tuple], clock=time.monotonic):
        self.batches = batches
        self.clock = clock
        self.waited = 0.0
        self.waited_first = 0.0

    def __iter__(self) -> Iterator[tuple]:
        start = self.clock()
        for count, batch in enumerate(self.batches):
            self.waited += self.clock() - start
            if count == 0:
                self.waited_first = self.waited
            yield batch
            start = self.clock()
        self.waited += self.clock() - start

    def is_bottleneck(self, seconds: float) -> bool:
        """Tells whether batches but the first were awaited too long, in an epoch of `seconds`."""
        return self.waited - self.waited_first > BOTTLENECK * seconds
