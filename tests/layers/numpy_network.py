"""Stems, heads and a whole DRNet in plain numpy, from the weights of the Keras layers."""

import numpy as np

from tests.layers import numpy_cell
from tests.layers import numpy_reference as reference
from tests.layers.numpy_cell import norm, value


def cifar_stem(layer, x, training=False):
    x = norm(layer.norm, reference.conv(x, value(layer.convolution.kernel)), training)
    return x, x


def imagenet_stem(layer, x, training=False):
    outputs = []
    for convolution, normalization in zip(layer.convolutions, layer.norms, strict=True):
        x = norm(normalization, reference.conv(x, value(convolution.kernel), 2), training)
        outputs.append(x)
        x = reference.relu(x)
    return outputs[1], outputs[2]


def dense(layer, x):
    return x @ value(layer.kernel) + value(layer.bias)


def classifier(layer, x):
    return dense(layer.dense, x.mean(axis=(1, 2)))


def auxiliary_head(layer, x, stride, training=False):
    x = reference.relu(x)
    x = reference.average_pool(x, min(5, x.shape[1]), stride, "valid")
    x = norm(layer.norms[0], reference.conv(x, value(layer.reduce.kernel)), training)
    kernel = value(layer.expand.kernel)
    assert kernel.shape[0] == min(2, x.shape[1])
    x = reference.conv(reference.relu(x), kernel, padding="valid")
    x = reference.relu(norm(layer.norms[1], x, training))
    return dense(layer.dense, x.reshape(len(x), -1))


def network(model, images, temperature, threshold=None):
    """Logits, recalibrated weights, selection and auxiliary logits of a DRNet at evaluation."""
    config = model.config
    x = (np.asarray(images, "float64") - config.mean) / config.deviation
    stem, stride = {"cifar": (cifar_stem, 3), "imagenet": (imagenet_stem, 2)}[config.stem]
    before, previous = stem(model.stem, x)
    recalibrated, selected, auxiliary = [], [], None
    for index, layer in enumerate(model.cells):
        output, *routing = numpy_cell.cell(layer, (before, previous), temperature, threshold)
        before, previous = previous, output
        recalibrated.append(routing[0])
        selected.append(routing[1])
        if index == 2 * config.cells // 3:
            auxiliary = auxiliary_head(model.auxiliary, output, stride)
    logits = classifier(model.classifier, previous)
    return logits, np.stack(recalibrated, axis=1), np.stack(selected, axis=1), auxiliary
