"""A cell and its parts in plain numpy, from the weights of the Keras layers."""

import numpy as np

from tests.layers import numpy_reference as reference


def value(variable):
    return np.asarray(variable, "float64")


def norm(layer, x, training=False, member=()):
    gamma, beta = value(layer.gamma)[member], value(layer.beta)[member]
    if training:
        return reference.batch_norm(x, gamma, beta)
    mean, variance = value(layer.moving_mean)[member], value(layer.moving_variance)[member]
    return reference.batch_norm(x, gamma, beta, mean, variance)


def separable_conv(layer, member, x, stride, training=False):
    """One member of a `SeparableConvs`; `x` comes after ReLU."""
    size = layer.kernel_sizes[member]
    among_its_size = layer.kernel_sizes[:member].count(size)
    for i in range(2):
        kernel = value(layer.depthwise[i][str(size)])[among_its_size]
        x = reference.depthwise_conv(x, kernel, stride if i == 0 else 1)
        x = norm(layer.norm[i], x @ value(layer.pointwise[i])[member], training, member)
        x = reference.relu(x) if i == 0 else x
    return x


def preprocess(layer, x, training=False):
    x = reference.relu(x)
    if layer.factorized:
        height, width = (-(-length // 2) for length in x.shape[1:3])
        odd = np.zeros((len(x), height, width, x.shape[-1]))
        pixels = x[:, 1::2, 1::2]
        odd[:, : pixels.shape[1], : pixels.shape[2]] = pixels
        parts = (x[:, ::2, ::2], odd)
    else:
        parts = (x,)
    kernels = [value(pointwise.kernel)[0, 0] for pointwise in layer.pointwise]
    outputs = [part @ kernel for part, kernel in zip(parts, kernels, strict=True)]
    return norm(layer.norm, np.concatenate(outputs, axis=-1), training)


def router_net(layer, x, training=False):
    for i in range(2):
        x = reference.depthwise_conv(reference.relu(x), value(layer.depthwise[i].kernel), 2)
        x = norm(layer.norm[i], x @ value(layer.pointwise[i].kernel)[0, 0], training)
    outputs = x.mean(axis=(1, 2)) @ value(layer.dense.kernel) + value(layer.dense.bias)
    return outputs.reshape(len(x), layer.connections, layer.branches)


def cell(layer, inputs, temperature, threshold=None):
    """Output, recalibrated weights and selection of a cell with a RouterNet, at evaluation."""
    states = [preprocess(p, x) for p, x in zip(layer.preprocess, inputs, strict=True)]
    logits = router_net(layer.router, np.concatenate(states, axis=-1))
    recalibrated = reference.softmax(logits / temperature)
    selected, used = np.ones(recalibrated.shape, bool), recalibrated
    if threshold is not None:
        selected, used = reference.select(recalibrated, np.reshape(threshold, (-1, 1, 1)))
    return nodes(layer, states, used), recalibrated, selected


def nodes(layer, states, used):
    """The concatenated nodes for given weights [batch, connections, branches]."""
    states, connection = list(states), 0
    for pair in layer.node_inputs:
        total = 0.0
        for source in pair:
            stride = 2 if layer.geometry.reduction and source < 2 else 1
            for index, name in enumerate(layer.branch_names):
                output = _branch(layer, connection, index, name, states[source], stride)
                total = total + used[:, connection, index, None, None, None] * output
            connection += 1
        states.append(total)
    return np.concatenate(states[2:], axis=-1)


def _branch(layer, connection, index, name, x, stride):
    if name == "skip":
        return x[:, ::stride, ::stride]
    if name == "max_pool_3x3":
        return reference.max_pool(x, 3, stride)
    if name == "avg_pool_3x3":
        return reference.average_pool(x, 3, stride)
    if name.startswith("sep_conv"):
        for group, pairs in layer.separable_members.items():
            if (connection, index) in pairs:
                convs = layer.separable_convs[str(group)]
                member = pairs.index((connection, index))
                assert name == f"sep_conv_{convs.kernel_sizes[member]}x{convs.kernel_sizes[member]}"
                return separable_conv(convs, member, reference.relu(x), stride)
    raise AssertionError(f"the reference has no branch {name}")
