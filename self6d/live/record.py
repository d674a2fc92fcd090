"""What is seen as a plain recording, which `open_dataset` and the window open."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from self6d.errors import from_os_error
from self6d.files import check_free, write_file
from self6d.geometry import Camera
from self6d.live.sources import Shot

LARGEST_MM = 65_535


class Recorder:
    """Writes rgb/ and depth/ (PNG, depth in whole millimetres) and camera.json.

    Args:
        folder: new or empty.

    Attributes:
        left_out: images of another camera than the first one's, which a folder cannot hold.

    Raises:
        InputError: the folder holds something.
    """

    def __init__(self, folder: Path) -> None:
        check_free(folder)
        self.folder, self.count, self.left_out = folder, 0, 0
        self._camera: Camera | None = None

    def add(self, shot: Shot) -> None:
        """Write one image.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            if self._camera is None:
                self._begin(shot)
            if shot.camera != self._camera:
                self.left_out += 1
                return
            name = f"{self.count:06d}.png"
            self._write("rgb", name, shot.rgb[..., ::-1])
            if shot.depth_m is not None:
                mm = np.nan_to_num(shot.depth_m * 1000.0, nan=0.0, posinf=0.0, neginf=0.0).round()
                mm[(mm < 0) | (mm > LARGEST_MM)] = 0  # unknown
                self._write("depth", name, mm.astype(np.uint16))
        except OSError as error:
            raise from_os_error(error, self.folder) from error
        self.count += 1

    def _begin(self, shot: Shot) -> None:
        self._camera = camera = shot.camera
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "rgb").mkdir()
        K = camera.K_opencv
        table = {
            "fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2],
            "width": camera.width, "height": camera.height,
        }  # fmt: skip
        if shot.depth_m is not None:
            (self.folder / "depth").mkdir()
            table["depth_scale"] = 1.0
        write_file(self.folder / "camera.json", json.dumps(table, indent=1) + "\n")

    def _write(self, place: str, name: str, pixels: np.ndarray) -> None:
        # quick compression: a camera does not wait
        _, data = cv2.imencode(
            ".png", np.ascontiguousarray(pixels), [cv2.IMWRITE_PNG_COMPRESSION, 1]
        )
        write_file(self.folder / place / name, data.tobytes())
