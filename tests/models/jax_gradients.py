"""A program: logits, gradients and moving moments of a DRNet on the JAX backend.

KERAS_BACKEND=jax python -m tests.models.jax_gradients exchange.npz result.npz
"""

import json
import sys

import jax
import numpy as np

from drnet_tf.models import build_from_config
from drnet_tf.models.drnet.architecture import DRNetConfig


def main(source, destination):
    with np.load(source) as exchange:
        values = dict(exchange)
    model = build_from_config(DRNetConfig.from_dict(json.loads(str(values.pop("config")))))
    images, target, auxiliary = (values.pop(n) for n in ("images", "target", "auxiliary"))
    threshold = values.pop("threshold")
    for weight in model.weights:
        if weight.path in values:
            weight.assign(values[weight.path])

    def evaluate(trainable, fixed):
        return model.stateless_call(trainable, fixed, images, threshold=threshold)[0]

    def loss(trainable, fixed):
        (logits, routing), fixed = model.stateless_call(trainable, fixed, images, training=True)
        total = (logits * target).sum() + (routing.own["auxiliary_logits"] * auxiliary).sum()
        total += routing.own["expected_macs"].mean() * 1e-4
        return total, (logits, fixed)

    trainable = [weight.value for weight in model.trainable_variables]
    fixed = [weight.value for weight in model.non_trainable_variables]
    evaluated, routing = jax.jit(evaluate)(trainable, fixed)
    gradients, (trained, fixed) = jax.jit(jax.grad(loss, has_aux=True))(trainable, fixed)
    results = {"logits": evaluated, "selected": routing.selected, "trained_logits": trained}
    results |= {
        "gradient of " + weight.path: value
        for weight, value in zip(model.trainable_variables, gradients, strict=True)
    }
    results |= {
        "after " + weight.path: value
        for weight, value in zip(model.non_trainable_variables, fixed, strict=True)
        if "moving" in weight.path
    }
    np.savez(destination, **{name: np.asarray(value) for name, value in results.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
