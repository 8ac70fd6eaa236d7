"""Two programs that take turns, so that both see the same machine.

Each lives in a child process: frameworks that share one would share its threads. The parent asks
one child at a time for some steps, over pipes, one JSON value per line. While one works the others
wait for input.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from drnet_tf.errors import UserError

STATISTICS = pathlib.Path("/proc/stat")


class Child:
    """Runs `serve` in a child process.

    Args:
        name: for messages.
        module: to run.
        settings: JSON values, the module's one argument.
        environment: variables to set.

    Attributes:
        facts: what the child reported when it was ready.

    Raises:
        UserError: it ended; with the last line of what it said on standard error.
    """

    def __init__(
        self, name: str, module: str, settings: dict[str, Any], environment: Mapping[str, str]
    ):
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, **environment},
            text=True,
            bufsize=1,
        )
        self.facts = self._answer()

    def ask(self, steps: int) -> dict[str, Any]:
        """Has it do some steps.

        Returns:
            `seconds` and `cpu_seconds` that they took; `others_cores`, how many cores all other
            processes of the machine kept busy meanwhile; `loss`; `peak_memory_bytes`.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"steps": steps}) + "\n")
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines() or [f"exit status {status}"]
        raise UserError(f"the process of {self.name} ended: {said[-1]}")


def serve(
    prepare: Callable[[dict[str, Any]], tuple[Callable[[int], float], dict[str, Any]]],
) -> None:
    """Answers the parent, in the child, until it closes the pipe.

    Args:
        prepare: called with the settings; returns what does some steps and gives the last loss,
            and facts for the parent.
    """
    # The answers' own descriptor: what a framework prints must not get among them.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    run, facts = prepare(json.loads(sys.argv[1]))
    answers.write(json.dumps({**facts, "peak_memory_bytes": peak_memory_bytes()}) + "\n")
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        busy, cpu, start = busy_seconds(), time.process_time(), time.perf_counter()
        loss = run(steps)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        others = max(0.0, busy_seconds() - busy - cpu) / seconds
        answer = {"seconds": seconds, "cpu_seconds": cpu, "others_cores": others, "loss": loss}
        answers.write(json.dumps({**answer, "peak_memory_bytes": peak_memory_bytes()}) + "\n")


def peak_memory_bytes() -> int:
    """Returns the most memory that this process has had resident."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def busy_seconds() -> float:
    """Returns the seconds that all cores have worked since the machine's start; 0 if unknown.

    Time that a host gave to other machines counts too: it is missing all the same.
    """
    if not STATISTICS.exists():
        return 0.0
    user, nice, system, _idle, _wait, irq, soft_irq, steal = (
        int(value) for value in STATISTICS.read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def use_cores(count: int) -> None:
    """Keeps this process on that many of the cores that it may use; call it before any thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def available_cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
