"""Kernels in Triton for the making of images; each file says what they stand in for."""
