"""The graph of a DRNet."""
