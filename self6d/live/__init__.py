"""A trained network on a camera, a video or a recording: poses from image to image."""

from self6d.live.live import View, live

__all__ = ["View", "live"]
