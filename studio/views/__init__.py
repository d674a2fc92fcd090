"""Pictures of frames, clouds and results."""
