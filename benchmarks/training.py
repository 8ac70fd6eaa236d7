"""Measures images per second of a training step, beside the same network in PyTorch.

    python -m benchmarks.training                 # needs requirements-benchmarks.txt
    python -m benchmarks.training --nopeer        # ours alone
    python -m benchmarks.training --profile       # where the time of our step goes

float32 on the CPU, on synthetic images in memory: forward, backward and SGD. Both networks
train in processes of their own that take turns, and the ratio is taken within each round.

Only rounds in which the machine did little else count, where there are any. On a busy machine turns
alone are not fair: the threads of PyTorch (OpenMP) wait for each other by spinning, so that one
that is kept from its core holds up all the others, and it slows down several times as much as ours.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
from typing import Any

from absl import flags
from rich.table import Table

from benchmarks.child_turns import Child, available_cores
from benchmarks.op_profile import profile, profile_table
from drnet_tf import command_line
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table
from drnet_tf.flags import check_json, define_json_flag, write_json
from drnet_tf.machine import machine_facts
from drnet_tf.models import list_models, model_config
from drnet_tf.progress import Progress, ProgressBar, silent

OURS, PEER = "drnet-tf", "PyTorch"
TORCH = "torch==2.13.0"  # as in requirements-benchmarks.txt
MIB = 2**20
QUIET_CORES = 0.1  # of other processes, up to which a round counts
#: The GPU is hidden: this measures the CPU.
_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}

_CHILDREN = {
    OURS: ("benchmarks.keras_child", {"KERAS_BACKEND": "tensorflow"}),
    PEER: ("benchmarks.torch_child", {"KERAS_BACKEND": "torch"}),
}


def measure(
    settings: dict[str, Any], rounds: int, steps: int, peer: bool, progress: Progress = silent
) -> dict[str, Any]:
    """Has the networks train in turns.

    Args:
        settings: `model`, `batch_size` and `threads` of both.
        rounds: how often each gets its turn.
        steps: of a turn.
        peer: whether to train the PyTorch network too.
        progress: called with the rounds done, their number, and what is being done.

    Returns:
        For each network, by name, its facts, `images_per_second` and `images_per_cpu_second` of
        each round, and `peak_memory_bytes`; `ratio` of each round, ours to the peer's;
        `others_cores` of each round, how many cores other processes kept busy.

    Raises:
        UserError: one of the processes failed.
    """
    threads = str(settings["threads"])
    environment = {**_ENVIRONMENT, "OMP_NUM_THREADS": threads}
    names = [OURS, PEER] if peer else [OURS]
    children: list[Child] = []
    report: dict[str, Any] = {"others_cores": []}
    try:
        # One after the other: each measures its own first step.
        for name in names:
            progress(0, rounds, f"first steps of {name}")
            module, extra = _CHILDREN[name]
            children.append(Child(name, module, settings, {**environment, **extra}))
            report[name] = {
                **children[-1].facts,
                "images_per_second": [],
                "images_per_cpu_second": [],
            }
        for done in range(rounds):
            others = 0.0
            # Each goes first in every other round.
            for child in children if done % 2 == 0 else reversed(children):
                answer = child.ask(steps)
                images, values = steps * settings["batch_size"], report[child.name]
                values["images_per_second"].append(images / answer["seconds"])
                values["images_per_cpu_second"].append(images / answer["cpu_seconds"])
                values["peak_memory_bytes"] = answer["peak_memory_bytes"]
                others = max(others, answer["others_cores"])
            report["others_cores"].append(others)
            progress(done + 1, rounds, _latest(report, names))
    finally:
        for child in children:
            child.close()
    if peer:
        pairs = zip(*(report[name]["images_per_second"] for name in names), strict=True)
        report["ratio"] = [ours / theirs for ours, theirs in pairs]
    return report


def _latest(report: dict[str, Any], names: list[str]) -> str:
    speeds = [f"{name} {report[name]['images_per_second'][-1]:.1f}" for name in names]
    return ", ".join(speeds) + f" images/s; others use {report['others_cores'][-1]:.2f} cores"


def quiet_rounds(report: dict[str, Any]) -> list[int]:
    """Finds the rounds in which other processes took little of the machine."""
    return [i for i, cores in enumerate(report["others_cores"]) if cores < QUIET_CORES]


def speed_table(report: dict[str, Any]) -> Table:
    """Makes a line for each network and one for the ratio, over quiet rounds if there are any."""
    rounds, quiet = list(range(len(report["others_cores"]))), quiet_rounds(report)
    title = f"images per second, in {len(quiet)} quiet rounds of {len(rounds)}"
    caption = None
    if not quiet:
        title = f"images per second, in {len(rounds)} rounds"
        cores = statistics.median(report["others_cores"])
        caption = f"other processes used {cores:.1f} cores: not a fair comparison"
    rounds = quiet or rounds
    rows = []
    for name in (OURS, PEER):
        if name in report:
            values = report[name]
            per_cpu_second = [values["images_per_cpu_second"][i] for i in rounds]
            rows.append(
                {"": name}
                | _summary(values["images_per_second"], rounds, ".1f")
                | {
                    "per CPU second": f"{statistics.median(per_cpu_second):.1f}",
                    "tracing s": f"{values['tracing_seconds']:.1f}",
                    "first step s": f"{values['first_step_seconds']:.1f}",
                    "peak MiB": f"{values['peak_memory_bytes'] / MIB:.0f}",
                }
            )
    if "ratio" in report:
        rows.append({"": "ratio"} | _summary(report["ratio"], rounds, ".2f"))
    return cells_table(rows, title, text=[""], caption=caption)


def _summary(values: list[float], rounds: list[int], form: str) -> dict[str, str]:
    values = [values[i] for i in rounds]
    of = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: f"{value:{form}}" for name, value in of.items()}


def require_peer() -> None:
    """Checks that PyTorch is installed.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec("torch") is None:
        raise UserError(
            f"PyTorch, which is measured beside, is not installed: pip install {TORCH}, "
            "or --nopeer to measure drnet-tf alone"
        )


def define_flags() -> None:
    flags.DEFINE_enum("model", "drnet_s.cifar10", list_models(), "Registered model.")
    flags.DEFINE_integer("batch_size", 128, "Images per step.", lower_bound=2)
    flags.DEFINE_integer("threads", 0, "Of each network; 0 for all cores.", lower_bound=0)
    flags.DEFINE_integer("rounds", 8, "How often each network gets its turn.", lower_bound=1)
    flags.DEFINE_integer("steps", 2, "Steps of a turn, or to profile.", lower_bound=1)
    flags.DEFINE_bool("peer", True, "Measure PyTorch too.")
    flags.DEFINE_bool("profile", False, "Instead: time of our step by kind of operation.")
    define_json_flag()


def main() -> None:
    values = flags.FLAGS
    cores = available_cores()
    if values.threads > cores:
        raise UserError(f"--threads must be at most {cores}, the cores here, not {values.threads}")
    if values.peer and not values.profile:
        require_peer()
    check_json()
    settings = {
        "model": values.model,
        "batch_size": values.batch_size,
        "threads": values.threads or cores,
    }
    machine = machine_facts()
    with ProgressBar("profile" if values.profile else "training") as bar:
        if values.profile:
            # One thread: an operation's time from begin to end is its CPU time.
            settings["threads"] = 1
            os.environ.update(_ENVIRONMENT)
            report = profile(settings, values.steps, bar.update)
        else:
            report = measure(settings, values.rounds, values.steps, values.peer, bar.update)
    machine["load_1min_after"] = round(os.getloadavg()[0], 2)
    config = model_config(values.model)
    versions = {k: v for part in report.values() for k, v in _versions(part).items()}
    facts = {**settings, "image_size": config.image_size, "dtype": "float32", **versions, **machine}
    command_line.show(
        profile_table(report) if values.profile else speed_table(report),
        ", ".join(f"{name} {value}" for name, value in facts.items()),
    )
    write_json({**facts, "results": report})


def _versions(part: Any) -> dict[str, str]:
    return part.get("versions", {}) if isinstance(part, dict) else {}


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
