"""Pictures of frames, clouds, curves and results."""
