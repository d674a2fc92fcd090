"""Record3D (iPhone, iPad): metadata.json with K columns first, rgb/ and depth/ in metres.

Depth is coarser than colour and registered to it. Source: https://record3d.app, its export
"EXR + RGB", and the fields of metadata: K, w, h, dw, dh, fps, perFrameIntrinsicCoeffs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from self6d.datasets.camera_files import matrix
from self6d.datasets.intrinsics import Intrinsics, stated_size
from self6d.datasets.pairing import paired
from self6d.datasets.readers.folder import FolderRecording, list_images
from self6d.datasets.recording import models_beside
from self6d.errors import InputError
from self6d.files import note, read_json

_NAMES = ("metadata.json", "metadata")
_OWN_KEYS = frozenset(("perFrameIntrinsicCoeffs", "dw", "dh", "initPose", "cameraType", "poses"))


class Record3DRecording(FolderRecording):
    """One take. Each frame may have a K of its own: the lens moves when it focuses."""

    kind = "record3d"
    _rows: np.ndarray | None = None  # (N, 4): fx fy cx cy of each colour image
    _places: dict[str, int]  # stem of a colour image -> its row

    @classmethod
    def open(cls, path: Path, *, reason: str = "") -> Self:
        """List the frames.

        Raises:
            InputError: metadata without K, no colour images, or depth still compressed.
        """
        file = _metadata(path) or path / _NAMES[0]
        table = read_json(file, "metadata")
        if "K" not in table:
            raise InputError("metadata states no K", path=file, remedy="Export the take again.")
        rgb, depth = list_images(path)
        if not rgb:
            packed = (path / "rgbd").is_dir()
            raise InputError(
                "holds Record3D's own packed depth (LZFSE)" if packed else "holds no colour images",
                path=path,
                remedy="Export the take as RGB images and depth; or unpack rgbd/*.depth with "
                "`pyliblzfse` into depth/*.npy, and move rgbd/*.jpg to rgb/.",
            )
        K = matrix(table["K"], file, columns_known=True)
        intrinsics = Intrinsics(K, *stated_size(table), source=file)
        recording = cls(
            path,
            paired(rgb, depth, path),
            intrinsics,
            1.0 if not depth or depth[0].endswith((".npy", ".tif", ".tiff", ".exr")) else 1e-3,
            reason=reason,
            models_path=models_beside(path, up=0),
        )
        recording._rows = _rows(table, len(rgb), file)
        recording._places = {Path(name).stem: i for i, name in enumerate(rgb)}
        return recording

    def _camera(self, stem: str) -> Intrinsics:
        if self._rows is None:
            return self.intrinsics
        fx, fy, cx, cy = self._rows[self._places[stem]]
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        return replace(self.intrinsics, K=K)


def _rows(table: dict[str, Any], count: int, path: Path) -> np.ndarray | None:
    """K of each frame as (N, 4): fx fy cx cy."""
    stated = table.get("perFrameIntrinsicCoeffs")
    if not stated:
        return None
    try:
        rows = np.asarray(stated, dtype=np.float64).reshape(len(stated), 4)
    except (TypeError, ValueError):
        raise InputError(
            "perFrameIntrinsicCoeffs is not fx, fy, cx, cy of each frame",
            path=path,
            remedy="Export the take again.",
        ) from None
    if len(rows) != count:
        note(path, f"states a K for each of {len(rows)} frames, of which {count} are here; "
                   "the one for all is used")  # fmt: skip
        return None
    return rows


def _metadata(path: Path) -> Path | None:
    return next((path / name for name in _NAMES if (path / name).is_file()), None)


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    file = _metadata(path)
    if file is None:
        return ""
    try:
        table = read_json(file, "metadata")
    except InputError:
        return ""  # some other program's metadata
    own = "K" in table and _OWN_KEYS & table.keys()
    return f"{file.name} with K: Record3D layout" if own else ""
