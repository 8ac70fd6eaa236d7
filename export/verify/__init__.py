"""Checks that an export does what the Keras model does."""
