"""Networks without routing."""
