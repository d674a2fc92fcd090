"""Poses through the open recording in the window: track, correct, learn from them."""
