"""Comparison of .tflite files on arm64 and on x86-64."""

import drnet_tf  # noqa: F401 - first: it keeps the frameworks of a command quiet
