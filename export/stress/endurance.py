"""Runs every .tflite file of an export on random inputs, and very often."""

from __future__ import annotations

import dataclasses

from drnet_tf.progress import Progress, silent
from export.folder.export import Export
from export.stress.process import Rules
from export.tflite.child_process import run_child

_PROCESS = "export.stress.process"
#: Of memory that may be gained: half of the least that the C library gives for an allocation, 32
#: bytes on 64 bits. Whatever loses a block in each invocation gains twice as much.
BYTES_AN_INVOCATION = 16
#: What an allocator may gain once, by breaking up its memory differently.
LEAST_BYTES = 256 * 1024


@dataclasses.dataclass(frozen=True)
class StressResult:
    """Holds what one file did.

    Args:
        file: its quantization, or "static".
        inputs: how many random inputs it ran on.
        invocations: how often it ran after that.
        failed: inputs whose answer is wrong.
        failures: the first of them, in words.
        images: random inputs by kind, see export/stress/process.py.
        unanswered: those of them that got no finite probabilities.
        memory: bytes resident after the warm-up.
        growth: how many more at the end.
    """

    file: str
    inputs: int
    invocations: int
    failed: int
    failures: tuple[str, ...]
    images: dict[str, int]
    unanswered: dict[str, int]
    memory: int
    growth: int

    @property
    def faults(self) -> list[str]:
        """Lists what is wrong, in words."""
        found = []
        if self.failed:
            found.append(f"{self.failed} of {self.inputs} inputs failed: {self.failures[0]}")
        allowed = allowed_growth(self.invocations)
        if self.growth > allowed:
            found.append(
                f"memory grew by {self.growth:,} bytes in {self.invocations:,} invocations, more "
                f"than {allowed:,}"
            )
        return [f"{self.file}: {text}" for text in found]


def allowed_growth(invocations: int) -> int:
    """Returns bytes by which memory may grow: so few that a leak in every invocation shows."""
    return max(LEAST_BYTES, BYTES_AN_INVOCATION * invocations)


def stress(
    export: Export,
    inputs: int = 10_000,
    invocations: int = 100_000,
    seed: int = 0,
    progress: Progress = silent,
) -> list[StressResult]:
    """Runs all .tflite files of an export.

    Args:
        inputs: random inputs for each file.
        invocations: for each file, on a few images again and again, over which memory is measured.
        seed: of the inputs.
        progress: called with the runs done, their number, and the kind of the file.

    Returns:
        A result for each file.
    """
    files = export.files
    if export.fixed_file is not None:
        files["static"] = export.fixed_file
    rules = _rules(export)
    each = inputs + invocations
    results = []
    for i, (kind, path) in enumerate(files.items()):

        def report(done: int, *_, before: int = i * each, kind: str = kind) -> None:
            progress(before + done, len(files) * each, kind)

        settings = {
            "file": str(path.resolve()),
            "inputs": inputs,
            "invocations": invocations,
            "seed": seed,
            "rules": rules and dataclasses.asdict(rules),
        }
        values = run_child(_PROCESS, settings, report)
        report(each)
        values["failures"] = tuple(values["failures"])
        results.append(StressResult(kind, inputs, invocations, **values))
    return results


def _rules(export: Export) -> Rules | None:
    if export.knob is None:
        return None
    choices = "branch_names" in export.description
    return Rules(export.knob["everything"], export.knob["more_is"], choices)
