"""What every exported graph takes and gives."""

from __future__ import annotations

INPUTS = ("image", "threshold")
OUTPUTS = ("logits", "probabilities", "selected", "flops")
