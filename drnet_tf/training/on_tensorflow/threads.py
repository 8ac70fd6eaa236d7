"""How TensorFlow divides the cores of a CPU."""

from __future__ import annotations

import os

import tensorflow as tf

_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def use_threads(count: int) -> None:
    """Runs on that many threads, unless environment variables of TensorFlow's own say how many.

    Of two threads each gets operations of its own. The graph of a training step has always two that
    do not wait for each other, and one operation on two cores leaves some of their time unused. For
    more threads TensorFlow's rule stands: every operation may use them all.

    Without effect after the first operation of the process, when the threads are there.
    """
    if any(os.environ.get(name) for name in _VARIABLES):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1 if count <= 2 else count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
    except RuntimeError:
        pass
