"""Rewrites a float32 .tflite file with its weights, or its convolutions, in int8.

What export/graphs/in_float.py names stays as it is. ai-edge-quantizer rewrites the file; its own
calibrator fails on IF, export/quantize/calibration.py does not.
"""

from __future__ import annotations

import contextlib
import io
import warnings

from export.graphs.in_float import SCOPES
from export.quantize.calibration import Ranges

# Operators whose output has none of these names in it.
_SCOPE = f"^(?!.*({'|'.join(SCOPES)}))"
#: What is computed in int8.
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_CLASSIFIER = "FULLY_CONNECTED"


def quantize_weights(model: bytes) -> bytes:
    """Stores the weights of a float32 .tflite, but for the routers, as int8."""
    quantizer = _quantizer(model)
    for operator in (*CONVOLUTIONS, _CLASSIFIER):
        quantizer.add_weight_only_config(_SCOPE, operator, num_bits=8)
    return _quantized(quantizer)


def quantize_int8(model: bytes, ranges: Ranges) -> bytes:
    """Has a float32 .tflite compute all convolutions but those of the routers in int8.

    Args:
        ranges: of its tensors, from `tensor_ranges`.
    """
    quantizer = _quantizer(model)
    for operator in CONVOLUTIONS:
        quantizer.add_static_config(_SCOPE, operator, activation_num_bits=8, weight_num_bits=8)
    # Its output is the logits: in steps of 1/256 of their range, classes would tie.
    quantizer.add_weight_only_config(_SCOPE, _CLASSIFIER, num_bits=8)
    return _quantized(quantizer, ranges)


def _quantizer(model: bytes):
    # Here, so that commands that quantize nothing do not wait for it.
    from ai_edge_quantizer import quantizer

    return quantizer.Quantizer(bytearray(model))


def _quantized(quantizer, ranges=None) -> bytes:
    # It shows bars of its own, of work that takes less than a second, and a warning.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
