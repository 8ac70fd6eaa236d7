"""Progress bars on a terminal, and plain lines where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich import progress as rich_progress
from rich.console import Console

SECONDS_BETWEEN_LINES = 15.0

#: What long work is given to report to: steps done, their number, and what is being done.
Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, text: str = "") -> None:
    """Takes reports of progress and shows nothing."""


class ProgressBar:
    """Shows the progress of one long piece of work, with the time that is left.

    Args:
        title: what is being done.
        stream: where to show it; standard error by default, so that results can be redirected.
        patience: seconds of work, from the first report on, of which nothing is shown, such as
            infinity for all; None shows the bar before the first report already.
    """

    def __init__(self, title: str, stream=None, patience: float | None = None):
        self.title = title
        self.stream = stream or sys.stderr
        self.bar: rich_progress.Progress | None = None
        self.task = rich_progress.TaskID(0)
        self.last_line = 0.0
        self.patience = patience
        self.first_report: float | None = None

    def __enter__(self) -> ProgressBar:
        if self.patience is None:
            self._show()
        return self

    def _show(self) -> None:
        if self.stream.isatty():
            self.bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(bar_width=24),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TimeElapsedColumn(),
                rich_progress.TextColumn("left"),
                rich_progress.TimeRemainingColumn(),
                rich_progress.TextColumn("{task.fields[text]}"),
                console=Console(file=self.stream),
            )
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=None, text="")
        self.last_line = time.monotonic()
        self.patience = None

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, step: int, total: int, text: str = "") -> None:
        """Reports that `step` of `total` are done."""
        if self.patience is not None:
            now = time.monotonic()
            self.first_report = self.first_report or now
            if now - self.first_report < self.patience:
                return
            self._show()
        if self.bar is not None:
            self.bar.update(self.task, completed=step, total=total, text=text)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES or step == total:
            print(f"{self.title}: {step}/{total}  {text}", file=self.stream, flush=True)
            self.last_line = time.monotonic()

    def note(self, line: str) -> None:
        """Shows a line that stays."""
        if self.bar is not None:
            self.bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=self.stream, flush=True)
