"""The share of an epoch that is spent waiting for images."""

import pytest

from drnet_tf.training.input_wait import BOTTLENECK, TimedBatches


class Clock:
    def __init__(self):
        self.now = 5.0

    def __call__(self):
        return self.now


def run_epoch(waits, work):
    """An epoch whose batches come after `waits` seconds each and are worked on for `work`."""
    clock = Clock()

    def batches():
        for index, wait in enumerate(waits):
            clock.now += wait
            yield (index,)

    timed, start, seen = TimedBatches(batches(), clock), clock.now, []
    for (index,) in timed:
        clock.now += work
        seen.append(index)
    assert seen == list(range(len(waits)))
    return timed, clock.now - start


def test_waits_are_added_up_and_work_is_not():
    timed, seconds = run_epoch([3, 1, 2], work=4)
    assert (timed.waited, timed.waited_first, seconds) == (6, 3, 18)


@pytest.mark.parametrize(("wait", "slow"), [(1, False), (4, True)])
def test_a_wait_for_each_batch_is_a_bottleneck_from_a_fifth_on(wait, slow):
    timed, seconds = run_epoch([wait] * 100, work=10)
    assert (timed.waited / seconds > BOTTLENECK) == slow
    assert timed.is_bottleneck(seconds) == slow


def test_a_slow_start_is_no_bottleneck():
    timed, seconds = run_epoch([1000, 0, 0], work=1)
    assert timed.waited / seconds > BOTTLENECK
    assert not timed.is_bottleneck(seconds)


def test_last_batch_may_be_left_without_asking_for_another():
    clock = Clock()
    timed = TimedBatches(iter([(0,), (1,)]), clock)
    for _ in timed:
        break
    assert timed.waited == 0
