"""Fine-tunes twins under tensorflow-model-optimization, in a process of its own.

Importing that package sets TF_USE_LEGACY_KERAS in the environment and turns tf.keras into another
library. No other file imports it, and this one only in the process that `TwinProcess` starts:
whoever uses it has the environment and the tf.keras of before.
"""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.progress import Progress, silent
from export.compress.twin import build_twin, read_twin
from export.graphs.drnet.forward import DRNetGraph
from export.tflite.child_process import child_environment

PRUNE, CLUSTER = "prune", "cluster"
METHODS = (PRUNE, CLUSTER)
#: Images, float32 [batch, height, width, 3] in 0..255; thresholds, float32 [batch]; labels, int.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
# Sparsity grows over this share of the steps, in so many stages at most; the rest heals.
_GROWTH = 0.6
_STAGES = 100
# How much of what the process wrote is shown where it failed.
_LAST_CHARACTERS = 2000


@dataclasses.dataclass(frozen=True)
class Compression:
    """Says what to do to the kernels of a network.

    Args:
        method: of `METHODS`.
        sparsity: share of the weights of each kernel that become zero, where it is pruned.
        clusters: how many different values each kernel may hold, where it is clustered.
        steps: of fine-tuning.
        learning_rate: of Adam, at the first step; it falls to zero along a cosine.
        label_smoothing: of the cross-entropy.

    Raises:
        UserError: a value makes no sense.
    """

    method: str
    sparsity: float = 0.5
    clusters: int = 32
    steps: int = 1000
    learning_rate: float = 3e-4
    label_smoothing: float = 0.0

    def __post_init__(self):
        if self.method not in METHODS:
            raise UserError(f"the method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if not 0 < self.sparsity < 1:
            raise UserError(f"the sparsity must be between 0 and 1, not {self.sparsity:g}")
        if self.clusters < 2:
            raise UserError(f"the number of clusters must be 2 or more, not {self.clusters}")
        if self.steps < 2:
            raise UserError(f"the number of steps must be 2 or more, not {self.steps}")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"the learning rate must be positive, not {self.learning_rate:g}")


class TwinProcess:
    """Runs the process that holds the twins while in its block: it is a context manager."""

    def __enter__(self) -> TwinProcess:
        self._connection, theirs = Pipe()
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=child_environment() | {"KERAS_BACKEND": "tensorflow"},
            stdout=self._log,
            stderr=self._log,
        )
        theirs.close()
        return self

    def __exit__(self, *_) -> None:
        self._connection.close()
        self._process.kill()  # it has nothing of its own to put in order
        self._process.wait()
        self._log.close()

    def logits(self, network: DRNetGraph, images: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        """Returns what the twin of a network answers, float32 [batch, classes]."""
        self._send("logits", network, images, thresholds)
        return self._receive()[1]

    def compress(
        self,
        network: DRNetGraph,
        compression: Compression,
        batches: Iterable[Batch],
        progress: Progress = silent,
    ) -> DRNetGraph:
        """Returns the network, compressed and fine-tuned.

        Args:
            batches: as many as there are steps.
            progress: called with the number of steps done, of all, and the loss.

        Raises:
            UserError: the loss is not finite.
        """
        progress(0, compression.steps, "building the graph, which takes as long as many steps")
        self._send("compress", network, compression)
        done = 0

        def finish_step() -> None:
            nonlocal done
            loss = self._receive()[1]
            done += 1
            if not math.isfinite(loss):
                raise UserError(f"the loss is {loss} at step {done}: use a lower learning rate")
            progress(done, compression.steps, f"loss {loss:.3f}")

        for batch in batches:
            self._send(*batch)
            # The network comes behind the last step, and is not to be taken for one.
            while done < compression.steps and self._connection.poll():
                finish_step()
        while done < compression.steps:
            finish_step()
        return self._receive()[1]

    def _send(self, *message) -> None:
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._failure() from error

    def _receive(self) -> tuple[str, Any]:
        try:
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._failure() from error

    def _failure(self) -> RuntimeError:
        self._process.wait()
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")[-_LAST_CHARACTERS:]
        return RuntimeError(
            f"the compression ended with status {self._process.returncode}:\n{text}"
        )


def pruning_steps(steps: int) -> tuple[int, int]:
    """Returns the last step at which weights are pruned, and the steps from one such to the next.

    The last one is a multiple of the interval: at other steps weights are not pruned, and the final
    sparsity is that of this step.
    """
    last = max(1, min(round(_GROWTH * steps), steps - 1))
    interval = -(-last // _STAGES)
    return last - last % interval, interval


def _serve(connection: Connection) -> None:
    """Answers one request after the other until the connection is closed."""
    answers: dict[str, Callable] = {"logits": _logits, "compress": _compress}
    while True:
        try:
            request, *arguments = connection.recv()
        except EOFError:
            return
        connection.send(("result", answers[request](connection, *arguments)))


def _logits(connection: Connection, network: DRNetGraph, images, thresholds) -> np.ndarray:
    return build_twin(network)([images, thresholds]).numpy()


def _compress(connection: Connection, network: DRNetGraph, compression: Compression) -> DRNetGraph:
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras

    wrap, strip = _tools(tfmot, compression)
    twin = build_twin(network, wrap)
    decay = tf_keras.optimizers.schedules.CosineDecay(compression.learning_rate, compression.steps)
    optimizer = tf_keras.optimizers.Adam(decay)
    cross_entropy = tf_keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=compression.label_smoothing
    )

    # Not `fit`: AutoGraph takes longer over the functions of hundreds of layers than all else.
    @tf.function(autograph=False)
    def train_step(images, thresholds, labels):
        with tf.GradientTape() as tape:
            logits = twin([images, thresholds], training=True)
            loss = cross_entropy(tf.one_hot(labels, network.config.classes), logits)
        gradients = tape.gradient(loss, twin.trainable_variables)
        optimizer.apply_gradients(zip(gradients, twin.trainable_variables, strict=True))
        return loss

    optimizer.build(twin.trainable_variables)
    # Counts the steps that the schedule goes by, and masks the weights at the end.
    masks = tfmot.sparsity.keras.UpdatePruningStep()
    masks.set_model(twin)
    masks.on_train_begin()
    for _ in range(compression.steps):
        loss = train_step(*map(tf.constant, connection.recv()))
        connection.send(("step", float(loss)))
    masks.on_epoch_end(0)
    return read_twin(network, strip(twin))


def _tools(tfmot, compression: Compression) -> tuple[Callable, Callable]:
    """Returns what wraps a layer, and what takes the wrappers off a model."""
    if compression.method == PRUNE:
        last, interval = pruning_steps(compression.steps)
        pruning = tfmot.sparsity.keras
        schedule = pruning.PolynomialDecay(0.0, compression.sparsity, 0, last, frequency=interval)
        return lambda layer: pruning.prune_low_magnitude(layer, schedule), pruning.strip_pruning
    clustering = tfmot.clustering.keras

    def wrap(layer):
        # A kernel of as few weights has no more values than that.
        if layer.kernel.shape.num_elements() <= compression.clusters:
            return layer
        start = clustering.CentroidInitialization.KMEANS_PLUS_PLUS
        return clustering.cluster_weights(layer, compression.clusters, start)

    return wrap, clustering.strip_clustering


if __name__ == "__main__":
    # Under the name by which the other process knows what is sent.
    from export.compress import twin_process

    twin_process._serve(Connection(int(sys.argv[1])))
