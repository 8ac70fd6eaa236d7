"""Runs one .tflite file on random inputs and many times over, in a process of its own.

    python -m export.stress.process '{"file": "model.tflite", "inputs": 10, ...}'

export/stress/endurance.py starts it, and export/tflite/child_process.py says what it prints. The
process imports numpy and LiteRT only, so that a crash ends nothing else and its memory is the
model's. Whoever has a failing input's number can make it again with `make_input`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from export.tflite.child_answer import answer
from export.tflite.runner import TFLiteRunner

PIXELS, BEYOND, NOT_FINITE = "0..255", "beyond 0..255", "NaN or inf"
KINDS = (PIXELS, BEYOND, NOT_FINITE)
#: Largest absolute pixel of an image beyond 0..255; float32 ends at 3.4e38.
LARGEST = 1e30

_THRESHOLDS = (
    *(0.0, -0.0, 1.0, -1.0, 2.0, 0.99999994, 1e-45, 3.4e38, -3.4e38),
    *(float("nan"), float("inf"), float("-inf")),
)

_NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
_SUM_TOLERANCE = 1e-5
_SHOWN_FAILURES = 3
#: Images of the memory measurement, and how often they run before it.
_REPEATED, _WARM_UP = 32, 10


@dataclasses.dataclass(frozen=True)
class Input:
    """Holds what a model is run on.

    Args:
        kind: of `KINDS`.
        image: float32 [1, image_size, image_size, 3].
        threshold: T.
    """

    kind: str
    image: np.ndarray
    threshold: float


@dataclasses.dataclass(frozen=True)
class Rules:
    """Says what the selection of a model must keep to.

    Args:
        everything: the value of the knob at which all units run.
        more_is: "work" or "saving", as in model.json.
        choices: whether the last axis of `selected` has the choices of one connection, of which at
            least one is selected, and only one at a threshold of 0 or less, or NaN.
    """

    everything: float
    more_is: str
    choices: bool

    def runs_all(self, threshold: float) -> bool:
        """Tells whether all units run at a threshold."""
        if self.more_is == "work":
            return threshold >= self.everything
        return threshold <= self.everything


def make_input(seed: int, index: int, shape: tuple[int, ...]) -> Input:
    """Makes the input of a number: every second in 0..255, others in turn beyond or not finite.

    Args:
        shape: of the image, [1, image_size, image_size, 3].
    """
    generator = np.random.default_rng((seed, index))
    kind = (PIXELS, BEYOND, PIXELS, NOT_FINITE)[index % 4]
    image = _pixels(generator, shape)
    if kind == BEYOND:
        image = image / 255 * 10 ** generator.uniform(3, np.log10(LARGEST))
        image *= generator.choice((-1, 1), shape if generator.random() < 0.5 else ())
    elif kind == NOT_FINITE:
        share = generator.choice((0.0, 0.1, 1.0))
        where = generator.random(shape) < share
        where.flat[generator.integers(where.size)] = True
        image[where] = generator.choice(_NOT_FINITE, int(where.sum()))
    threshold = generator.random() if generator.random() < 0.5 else generator.choice(_THRESHOLDS)
    return Input(kind, image.astype(np.float32), float(threshold))


def _pixels(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Makes an image in 0..255: noise, one value, one bright pixel, or black and white."""
    form = generator.integers(4)
    if form == 0:
        return generator.uniform(0, 255, shape)
    if form == 1:
        return np.full(shape, generator.choice((0.0, 255.0, generator.uniform(0, 255))))
    if form == 2:
        image = np.zeros(shape)
        image.flat[generator.integers(image.size)] = 255
        return image
    return 255.0 * generator.integers(0, 2, shape)


def faults(
    given: Input, probabilities: np.ndarray, selected: np.ndarray | None, rules: Rules | None
) -> tuple[list[str], bool]:
    """Finds what is wrong with an answer, and whether it is one: finite probabilities.

    Images beyond 0..255 may overflow and get no answer; that is no fault. They, and those with NaN
    or infinity, still select a branch of each connection.

    Args:
        probabilities: [1, classes].
        selected: 0 or 1 [*units]; None of a file without routing.
        rules: what it must keep to; None likewise.
    """
    found = []
    finite = bool(np.isfinite(probabilities).all())
    if given.kind == PIXELS and not finite:
        found.append("probabilities are not finite")
    if given.kind != NOT_FINITE and finite:
        if abs(float(probabilities.sum(dtype=np.float64)) - 1) > _SUM_TOLERANCE:
            found.append("probabilities do not sum to 1")
    if selected is None or rules is None:
        return found, finite
    counts = selected.sum(axis=-1)
    of_pixels = given.kind == PIXELS
    if not np.isin(selected, (0, 1)).all():
        found.append("a unit is neither selected nor left out")
    elif rules.choices and not (counts >= 1).all():
        found.append("a connection selects no branch")
    elif of_pixels and rules.runs_all(given.threshold) and not selected.all():
        found.append(f"T={given.threshold:g} does not select all units")
    elif rules.choices and of_pixels and not given.threshold > 0 and not (counts == 1).all():
        found.append("T of 0 or less, or NaN, selects several branches of a connection")
    return found, finite


def run_inputs(
    runner: TFLiteRunner,
    rules: Rules | None,
    inputs: int,
    seed: int,
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """Runs random inputs.

    Returns:
        `failed`, how many have a fault; `failures`, the first ones in words; and by kind `images`,
        how many there were, and `unanswered`, how many of them got no finite probabilities.
    """
    images, unanswered = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    failures = []
    for index in range(inputs):
        given = make_input(seed, index, runner.image_shape)
        _classify(runner, given)
        selected = runner.output("selected") if runner.routed else None
        found, finite = faults(given, runner.output("probabilities"), selected, rules)
        images[given.kind] += 1
        unanswered[given.kind] += not finite
        failures += [
            f"input {index} ({given.kind}, T={given.threshold:g}): {fault}" for fault in found[:1]
        ]
        progress(index + 1)
    return {
        "failed": len(failures),
        "failures": failures[:_SHOWN_FAILURES],
        "images": images,
        "unanswered": unanswered,
    }


def run_repeatedly(
    runner: TFLiteRunner, invocations: int, seed: int, progress: Callable[[int], None]
) -> dict[str, Any]:
    """Runs a few images in 0..255 again and again.

    Returns:
        `memory` and `growth`: bytes resident after a warm-up, and how many more at the end.
    """
    # Of a DRNet all branches run at T=1, the last: after the warm-up all weights have been read.
    examples = [
        Input(PIXELS, make_input(seed, 2 * i, runner.image_shape).image, i / (_REPEATED - 1))
        for i in range(_REPEATED)
    ]

    def repeat(count: int, report: Callable[[int], None]) -> None:
        for index in range(count):
            _classify(runner, examples[index % len(examples)])
            runner.output("probabilities")
            report(index + 1)

    repeat(_WARM_UP * len(examples), lambda done: None)
    progress(0)
    before = resident_bytes()
    repeat(invocations, progress)
    return {"memory": before, "growth": resident_bytes() - before}


def resident_bytes() -> int:
    """Returns the memory of this process that is in RAM."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def _classify(runner: TFLiteRunner, given: Input) -> None:
    runner.set_image(given.image[0])
    runner.set_threshold(given.threshold)
    runner.invoke()


def run(settings: dict[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
    """Runs both.

    Args:
        settings: `file`, `rules` (the fields of `Rules`, or None), `inputs`, `invocations` and
            `seed`.
    """
    rules = settings["rules"] and Rules(**settings["rules"])
    runner = TFLiteRunner(settings["file"])
    inputs, invocations, seed = (settings[name] for name in ("inputs", "invocations", "seed"))
    total = inputs + invocations
    result = run_inputs(runner, rules, inputs, seed, lambda done: report(done, total))
    return result | run_repeatedly(
        runner, invocations, seed, lambda done: report(inputs + done, total)
    )


if __name__ == "__main__":
    answer(run)
