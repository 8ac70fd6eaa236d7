"""Measurements of speed."""

import drnet_tf  # noqa: F401 - first: it keeps the frameworks of a command quiet
