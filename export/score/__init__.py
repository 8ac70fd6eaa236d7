"""Classifies many images with an export."""
