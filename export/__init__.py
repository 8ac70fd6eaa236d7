"""Export of trained models: .tflite, SavedModel, and the checks and timings of both."""

import drnet_tf  # noqa: F401 - first: it keeps the frameworks of a command quiet
