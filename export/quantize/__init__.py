"""Adds smaller .tflite files to an export."""
