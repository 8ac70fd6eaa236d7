"""Exports a trained model."""
