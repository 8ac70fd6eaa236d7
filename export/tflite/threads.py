"""Runs many images through LiteRT on all cores, with one interpreter per thread.

An invocation holds no lock of Python, so threads do what processes would, without a TensorFlow of
their own each. One interpreter with several threads would not: the operators of these networks are
too small to be split.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from drnet_tf.errors import UserError

Runner = TypeVar("Runner")
Item = TypeVar("Item")
Result = TypeVar("Result")
#: Items that wait for a thread, for each thread: what comes from a stream must not all be read.
WAITING = 8


def worker_count(workers: int) -> int:
    """Counts the threads to use; 0 asks for one on each core that this process may use.

    Raises:
        UserError: the number is negative.
    """
    if workers < 0:
        raise UserError(f"--workers must be 0, for all cores, or more, not {workers}")
    return workers or len(os.sched_getaffinity(0))


def in_threads(
    make_runner: Callable[[], Runner],
    run: Callable[[Runner, Item], Result],
    items: Iterable[Item],
    workers: int,
) -> Generator[Result, None, None]:
    """Calls `run(runner, item)` for each item, and yields the results in the order of the items.

    Args:
        make_runner: called once in each thread; what it gives is used there only.
        workers: how many threads, 1 or more.
    """
    local = threading.local()

    def call(item: Item) -> Result:
        if not hasattr(local, "runner"):
            local.runner = make_runner()
        return run(local.runner, item)

    remaining = iter(items)
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = [pool.submit(call, item) for item in islice(remaining, WAITING * workers)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(call, item) for item in islice(remaining, 1)]
    finally:
        pool.shutdown(cancel_futures=True)
