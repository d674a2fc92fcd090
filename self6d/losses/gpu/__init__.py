"""Kernels of the losses in Triton, for float32 on a GPU: a step would launch hundreds without."""
