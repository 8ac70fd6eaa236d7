"""The devices of a run on JAX: data parallelism over those of one or of several processes.

one          the first device
mirrored     all devices of this process
multiworker  all devices of all processes. JAX_COORDINATOR_ADDRESS=HOST:PORT (of process 0),
             JAX_NUM_PROCESSES and JAX_PROCESS_ID say which they are; without them JAX asks Slurm,
             Open MPI or the Cloud TPU that started them
tpu          as mirrored, and an error if the devices are no TPU. Not run yet, for want of a TPU; a
             slice of several hosts is multiworker
auto         multiworker if JAX_NUM_PROCESSES is more than 1, else mirrored
"""

from __future__ import annotations

import os
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from drnet_tf.errors import UserError
from drnet_tf.training.placement import ALONE, Placement, check_batch_size, check_port

ADDRESS, COUNT, NUMBER = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
#: A process that is silent for so long counts as lost, and the others end.
HEARTBEAT_SECONDS = 30


def place(distribution: str, batch_size: int) -> Placement:
    """Finds the other processes and all devices; call it before JAX does anything else.

    Arguments and errors are those of `place` in on_tensorflow/placement.py.
    """
    if distribution == "one":
        return ALONE
    several = (_number(COUNT) or 1) > 1
    if distribution == "multiworker" or (distribution == "auto" and several):
        _join()
    if distribution == "tpu" and jax.default_backend() != "tpu":
        raise UserError(f"--distribution=tpu found no TPU; JAX runs on {jax.default_backend()}")
    devices = jax.device_count()
    if devices < 2:
        return ALONE
    check_batch_size(batch_size, devices)
    return Placement(
        keras.distribution.DataParallel().scope,
        jax.process_index(),
        jax.process_count(),
        _gather,
        (jax.errors.JaxRuntimeError,) if jax.process_count() > 1 else (),
    )


def _join() -> None:
    if jax.distributed.is_initialized():
        return
    given: dict[str, Any] = {
        "coordinator_address": os.environ.get(ADDRESS),
        "num_processes": _number(COUNT),
        "process_id": _number(NUMBER),
    }
    if None in given.values() and set(given.values()) != {None}:
        raise UserError(f"{ADDRESS}, {COUNT} and {NUMBER} are needed together, or none of them")
    if given["process_id"] == 0:
        # The others connect to it.
        check_port(str(given["coordinator_address"]), ADDRESS)
    # CPUs have no collectives of their own, and SIGTERM is the training loop's.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**given, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"the processes of the run do not find each other; set {ADDRESS}, {COUNT} and {NUMBER} "
            f"({error})"
        ) from error


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isdigit():
        raise UserError(f"{name} must be a whole number, not {text}")
    return int(text)


def _gather(number: int) -> list[int]:
    """Collects the numbers of all processes."""
    return [int(n) for n in np.ravel(multihost_utils.process_allgather(np.int32(number)))]
