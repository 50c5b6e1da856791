"""The number index."""
