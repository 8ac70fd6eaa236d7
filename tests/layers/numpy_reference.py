"""The operations of a convolutional network in plain numpy, in float64, from their definitions."""

import numpy as np


def windows(x, size, stride):
    """[batch, height, width, channels] to [batch, rows, columns, channels, size, size]."""
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return view[:, ::stride, ::stride]


def pad_same(x, size, stride, fill=0.0):
    """Padding so that the output has ceil(length / stride) pixels, the odd one after the image."""
    amounts = []
    for length in x.shape[1:3]:
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        amounts.append((total // 2, total - total // 2))
    return np.pad(x, [(0, 0), *amounts, (0, 0)], constant_values=fill)


def conv(x, kernel, stride=1, padding="same"):
    size = kernel.shape[0]
    x = pad_same(x, size, stride) if padding == "same" else x
    return np.einsum("bhwcij,ijco->bhwo", windows(x, size, stride), kernel)


def depthwise_conv(x, kernel, stride=1):
    """`kernel` is [size, size, channels, 1]."""
    size = kernel.shape[0]
    view = windows(pad_same(x, size, stride), size, stride)
    return np.einsum("bhwcij,ijc->bhwc", view, kernel[..., 0])


def max_pool(x, size, stride):
    return windows(pad_same(x, size, stride, -np.inf), size, stride).max(axis=(-2, -1))


def average_pool(x, size, stride, padding="same"):
    x = pad_same(x, size, stride, np.nan) if padding == "same" else x
    return np.nanmean(windows(x, size, stride), axis=(-2, -1))


def batch_norm(x, gamma, beta, mean=None, variance=None, epsilon=1e-5):
    """Over all but the last axis; with the batch's own moments where none are given."""
    if mean is None:
        axes = tuple(range(x.ndim - 1))
        mean, variance = x.mean(axis=axes), x.var(axis=axes)
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def select(weights, threshold):
    """Selection of Sec. 3.3 a row at a time, by sorting."""
    weights = np.asarray(weights)
    threshold = np.broadcast_to(threshold, weights.shape)
    selected = np.zeros(weights.shape, bool)
    for index in np.ndindex(weights.shape[:-1]):
        row, limit = weights[index], threshold[index][0]
        before = 0.0
        for rank, branch in enumerate(sorted(range(len(row)), key=lambda b: (-row[b], b))):
            selected[index][branch] = rank == 0 or limit >= 1 or before <= limit
            before += float(row[branch])
    kept = np.where(selected, weights, 0)
    return selected, kept / kept.sum(axis=-1, keepdims=True)
