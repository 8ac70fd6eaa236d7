"""A program: on JAX, trains on one and on two devices, and evaluates workdirs.

KERAS_BACKEND=jax XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    python -m tests.training.on_jax.jax_devices ONE_DEVICE TWO_DEVICES WORKDIR FLAG ...

trains with the flags in the first two folders and prints, as JSON, the evaluations of the first
and of the third.
"""

import json
import sys

import keras
from absl import flags

from drnet_tf import train, training_flags
from drnet_tf.evaluation.trained import evaluate_trained
from drnet_tf.runs.workdir import load_trained

THRESHOLDS = (0.0, 0.5, 1.0)


def evaluation(workdir):
    return [result.to_dict() for result in evaluate_trained(load_trained(workdir), THRESHOLDS)]


def main(one, two, other, *arguments):
    assert len(keras.distribution.list_devices()) == 2
    training_flags.define_flags()
    for workdir, distribution in ((one, "one"), (two, "auto")):
        own = (f"--workdir={workdir}", f"--distribution={distribution}")
        flags.FLAGS(["program", *arguments, *own])
        train.train_from_flags()
    print(json.dumps([evaluation(one), evaluation(other)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
