"""Runs an export on random inputs, and very often."""
