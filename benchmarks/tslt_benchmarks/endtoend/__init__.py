"""End to end: every way to share two models between a device and an edge, on the same links."""
