"""Meshes made or simplified here: primitives that occlude, things nobody modelled."""

from self6d.synthesis.shapes.primitives import distractor_shapes, simplified, vertex_colors

__all__ = ["distractor_shapes", "simplified", "vertex_colors"]
