"""Export of trained models: .tflite, SavedModel, and the checks and timings of both."""

import drnet_tf  # noqa: F401 - first, so that frameworks are quiet when a command imports them
