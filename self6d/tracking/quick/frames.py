"""A recording's frames, and the camera's way between them, made while others are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from self6d.scene import Frame
from self6d.tracking.quick.ahead import Ahead
from self6d.tracking.still.odometry import CameraPath

READ = 6  # frames at hand
COMING = 3  # of these, made while one is looked at


class ComingFrames:
    """Frames by their indices, and the camera's way between them (`camera`).

    Both may be asked for at any time; what was expected is there sooner. An error of a frame is
    raised to who asks for that frame.

    Args:
        read: a frame by its index; it may be called from several threads.
    """

    def __init__(self, read: Callable[[int], Frame]) -> None:
        self._read = Ahead(read, READ)
        self.camera = CameraPath(self._read.__getitem__)

    def __getitem__(self, index: int) -> Frame:
        return self._read[index]

    def expect(self, coming: Iterable[tuple[int, int | None]]) -> None:
        """Begin with the frames that are looked at next, in their order.

        Args:
            coming: each with the frame from which the camera's way to it is asked for; None: it
                is not.
        """
        for index, before in coming:
            self._read.expect(index)
            if before is not None:
                self.camera.expect(before, index)
