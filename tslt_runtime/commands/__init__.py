"""Command lines of the two ends."""
