"""What is shown of long work, without a terminal."""

import io

import pytest

from drnet_tf import progress
from drnet_tf.progress import ProgressBar


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_at_intervals_and_at_the_end(clock):
    stream = io.StringIO()
    with ProgressBar("work", stream) as bar:
        for done in range(1, 41):
            clock[0] += 1
            bar.update(done, 40, "x")
    assert stream.getvalue().splitlines() == ["work: 16/40  x", "work: 32/40  x", "work: 40/40  x"]


@pytest.mark.parametrize(("seconds", "shown"), [(0.5, False), (1.5, True)])
def test_patient_bar_shows_only_work_that_takes_long(clock, seconds, shown):
    stream = io.StringIO()
    with ProgressBar("reading", stream, patience=1.0) as bar:
        clock[0] += 60  # a download before it, which has a bar of its own
        bar.update(1, 2)
        clock[0] += seconds
        bar.update(2, 2, "train")
    assert stream.getvalue() == ("reading: 2/2  train\n" if shown else "")


def test_patient_bar_on_a_terminal_begins_late_too(clock):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with ProgressBar("reading", Terminal(), patience=1.0) as bar:
        assert bar.bar is None
        bar.update(1, 3)
        assert bar.bar is None
        clock[0] += 2
        bar.update(2, 3)
        assert bar.bar is not None
        bar.note("a line")
    assert "a line" in bar.stream.getvalue()
