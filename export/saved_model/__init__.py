"""The SavedModel of an export, for TF Serving."""
