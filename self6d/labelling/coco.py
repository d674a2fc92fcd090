"""Drawn labels as a COCO file of boxes and masks.

Masks are COCO's run-length encoding, uncompressed: unlike polygons it is exact and knows holes.
Source: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from self6d.errors import InputError
from self6d.labelling.masks import DrawnLabel
from self6d.scene import Frame, ObjectModel


class CocoFile:
    """Images and annotations, gathered frame by frame; image files go to FOLDER/images.

    Args:
        folder: where annotations.json will be. models: the categories.
        about: what the labels are, for "info".
    """

    def __init__(self, folder: Path, models: Sequence[ObjectModel], about: str) -> None:
        self.folder = folder
        self.table: dict[str, Any] = {
            "info": {"description": about},
            "images": [],
            "annotations": [],
            "categories": [
                {"id": m.object_id, "name": m.name, "supercategory": "object"} for m in models
            ],
        }

    def add(self, frame: Frame, drawn: Sequence[DrawnLabel]) -> None:
        """A frame and its labels; a label of which nothing can be seen is left out."""
        images, annotations = self.table["images"], self.table["annotations"]
        name = f"{frame.scene_id:06d}_{frame.image_id:06d}.png"
        path = self.folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ok, data = cv2.imencode(".png", cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR))
        if not ok:
            raise InputError("image cannot be encoded as PNG", path=path)
        path.write_bytes(data.tobytes())
        image_id = len(images) + 1
        height, width = frame.camera.size
        images.append(
            {"id": image_id, "file_name": f"images/{name}", "width": width, "height": height}
        )
        for label in drawn:
            if label.box_visib is None:
                continue
            x0, y0, x1, y1 = (int(v) for v in label.box_visib)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label.tracked.object_id,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": label.px_count_visib,
                    "segmentation": run_lengths(label.mask_visib),
                    "iscrowd": 0,
                }
            )

    def write(self) -> Path:
        """annotations.json."""
        path = self.folder / "annotations.json"
        path.write_text(json.dumps(self.table) + "\n", encoding="utf-8")
        return path


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed RLE of a mask (H, W) bool: by columns, zeros first.

    >>> run_lengths(np.array([[0, 1], [1, 1]], bool))
    {'size': [2, 2], 'counts': [1, 3]}
    """
    flat = np.asarray(mask, bool).reshape(-1, order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate(([0], edges, [len(flat)]))).tolist()
    if len(flat) and flat[0]:
        counts.insert(0, 0)
    return {"size": list(mask.shape), "counts": counts}
