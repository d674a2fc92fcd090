"""Tracking's work made for a GPU: without waiting for it, the next frame read meanwhile."""
