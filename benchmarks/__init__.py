"""Measurements of speed."""

import drnet_tf  # noqa: F401 - first, so that frameworks are quiet when a command imports them
