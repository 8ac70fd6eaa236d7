"""The devices of a run on TensorFlow: the choice of a tf.distribute strategy.

one          one device, the first GPU if there is one
mirrored     MirroredStrategy: all GPUs of this machine
multiworker  MultiWorkerMirroredStrategy: the GPUs, or CPUs, of the processes that TF_CONFIG names
tpu          TPUStrategy: the TPU that TPU_NAME names, or that of this machine. Not run yet, for
             want of a TPU: written as TensorFlow's guide has it
auto         multiworker if TF_CONFIG names several workers; else tpu if there is one; else
             mirrored if there are several GPUs; else one

https://www.tensorflow.org/guide/distributed_training describes the strategies and TF_CONFIG.
"""

from __future__ import annotations

import functools
import json
import os

import tensorflow as tf

from drnet_tf.errors import UserError
from drnet_tf.training.on_tensorflow.threads import use_threads
from drnet_tf.training.placement import ALONE, Placement, check_batch_size, check_port

# What a collective operation raises where a process does not answer any more.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


def place(distribution: str, batch_size: int) -> Placement:
    """Makes the strategy; call it before TensorFlow does anything else.

    Args:
        distribution: one of `DISTRIBUTIONS`.
        batch_size: of all devices together.

    Raises:
        UserError: the devices are not there, the batch does not divide by their number, or the port
            of this process is held by another.
    """
    workers, worker = _workers()
    if not any(tf.config.list_physical_devices(kind) for kind in ("GPU", "TPU")):
        use_threads(len(os.sched_getaffinity(0)))
    if distribution == "auto":
        distribution = _found(workers)
    if distribution == "one":
        return ALONE
    if distribution == "multiworker":
        if len(workers) < 2:
            raise UserError("--distribution=multiworker needs a TF_CONFIG with several workers")
        check_port(workers[worker], "TF_CONFIG")
        strategy: tf.distribute.Strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif distribution == "tpu":
        strategy = _tpu_strategy()
    else:
        strategy = tf.distribute.MirroredStrategy()
    check_batch_size(batch_size, strategy.num_replicas_in_sync)
    if distribution != "multiworker":
        return Placement(strategy.scope)
    gather = functools.partial(_gather, strategy)
    return Placement(strategy.scope, worker, len(workers), gather, _LOST)


def _workers() -> tuple[list[str], int]:
    """Reads the addresses of TF_CONFIG, the chief's first, and this process's place among them."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return [], 0
    try:
        values = json.loads(text)
        cluster, task = values["cluster"], values.get("task", {})
        chiefs, workers = cluster.get("chief", []), cluster.get("worker", [])
        first = {"chief": 0, "worker": len(chiefs)}[task.get("type", "worker")]
        worker = first + int(task.get("index", 0))
        if not 0 <= worker < max(1, len(chiefs + workers)):
            raise ValueError(worker)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            'TF_CONFIG must be as {"cluster": {"worker": ["HOST:PORT", ...]}, '
            f'"task": {{"type": "worker", "index": 0}}}}, not {text}'
        ) from error
    return chiefs + workers, worker


def _found(workers: list[str]) -> str:
    if len(workers) > 1:
        return "multiworker"
    if os.environ.get("TPU_NAME") or tf.config.list_physical_devices("TPU"):
        return "tpu"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "one"


def _tpu_strategy() -> tf.distribute.Strategy:
    try:
        name = os.environ.get("TPU_NAME", "local")
        # Connects to the TPU and initializes it, too.
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(name)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError, OSError) as error:
        raise UserError(f"--distribution=tpu found no TPU; TPU_NAME names one ({error})") from error


def _gather(strategy: tf.distribute.Strategy, number: int) -> list[int]:
    """Collects the numbers of all replicas."""

    def replica(number):
        context = tf.distribute.get_replica_context()
        places = context.num_replicas_in_sync
        # float32, which every kind of collective takes.
        mine = tf.one_hot(context.replica_id_in_sync_group, places) * number
        return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

    run = tf.function(lambda number: strategy.run(replica, (number,)), autograph=False)
    numbers = strategy.experimental_local_results(run(tf.constant(number, tf.float32)))[0]
    return [int(value) for value in numbers.numpy()]
