"""Evaluation: accuracy against cost and threshold."""
