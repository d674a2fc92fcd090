"""Poses that follow the depth, put in the image plane where the colours have them."""
