"""The folder of an export: names, description, checks."""
