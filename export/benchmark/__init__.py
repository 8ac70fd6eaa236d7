"""Times an export."""
