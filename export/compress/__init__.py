"""Prunes or clusters a trained model."""
