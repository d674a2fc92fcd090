"""Adapt monocular 6D pose networks with CAD models and unlabelled RGB-D (Self6D, ECCV 2020)."""

__version__ = "0.1.0"
