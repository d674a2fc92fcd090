"""Drawn labels as BOP's scene_gt, scene_gt_info, mask and mask_visib state them.

Source: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from self6d.datasets.bop_writer import FrameLabels
from self6d.datasets.labels import box_for_bop
from self6d.labelling.masks import DrawnLabel

_UNSEEN = [-1, -1, -1, -1]


def bop_labels(drawn: Sequence[DrawnLabel]) -> FrameLabels:
    """What `write_bop` writes of a frame."""
    return FrameLabels(
        [_entry(label) for label in drawn],
        [_info(label) for label in drawn],
        {"mask": [d.mask for d in drawn], "mask_visib": [d.mask_visib for d in drawn]},
    )


def _entry(label: DrawnLabel) -> dict[str, Any]:
    return {
        "cam_R_m2c": [float(v) for v in label.pose.R_m2c.reshape(-1)],
        "cam_t_m2c": [float(v) * 1000 for v in label.pose.t_m2c],
        "obj_id": label.tracked.object_id,
    }


def _info(label: DrawnLabel) -> dict[str, Any]:
    return {
        "bbox_obj": _UNSEEN if label.box is None else box_for_bop(label.box),
        "bbox_visib": _UNSEEN if label.box_visib is None else box_for_bop(label.box_visib),
        "px_count_all": label.px_count_all,
        "px_count_valid": label.px_count_valid,
        "px_count_visib": label.px_count_visib,
        "visib_fract": label.visib_fract,
    }
