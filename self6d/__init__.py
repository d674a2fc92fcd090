"""Self-supervised monocular 6D pose adaptation from CAD models and unlabelled RGB-D (Self6D, ECCV 2020)."""

__version__ = "0.1.0"
