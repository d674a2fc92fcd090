"""BOP's results files: one line an estimate, millimetres.

Format: scene_id,im_id,obj_id,score,R,t,time with R row-major and t in mm, both separated by blanks
(BOP Challenge 2019 and later).
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import numpy as np

from self6d.errors import InputError
from self6d.evaluation.predictions import Prediction
from self6d.files import check_new, read_bytes, write_file
from self6d.geometry import Pose

NEAREST_M = 0.02  # no camera sees a thing from nearer
HEADER = "scene_id,im_id,obj_id,score,R,t,time"


def write_bop_results(path: str | Path, predictions: Iterable[Prediction]) -> Path:
    """Write estimates. Numbers are written with all their digits, so reading gives the same.

    BOP wants files named METHOD_DATASET-SPLIT.csv.

    Raises:
        InputError: the file exists. StorageError: it cannot be written.
    """
    path = Path(path)
    check_new(path)
    lines = [HEADER]
    for p in predictions:
        R = " ".join(map(repr, np.asarray(p.R, float).ravel().tolist()))
        t = " ".join(map(repr, (1000 * np.asarray(p.t, float)).tolist()))
        lines.append(f"{p.scene_id},{p.image_id},{p.object_id},{p.score!r},{R},{t},{p.seconds!r}")
    write_file(path, "\n".join(lines) + "\n")
    return path


def results_name(method: str, images: str) -> str:
    """METHOD_DATASET-SPLIT.csv, which BOP's tools take apart at _ and -.

    Args:
        images: DATASET-SPLIT, see `Recording.bop_name`.
    """
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', method).strip('-') or 'method'}_{images}.csv"


def seconds_per_image(predictions: Iterable[Prediction]) -> tuple[float | None, str]:
    """Mean time over the images, None where an estimate states none (BOP), and a remark.

    The remark, "" if there is none, is of what BOP refuses: times of one image that differ.
    """
    times: dict[tuple[int, int], float] = {}
    complete, remark = True, ""
    for p in predictions:
        image = (p.scene_id, p.image_id)
        if p.seconds < 0:
            complete = False
        elif abs(times.setdefault(image, p.seconds) - p.seconds) > 1e-3 and not remark:
            remark = f"BOP refuses the file: times of image {image[0]}/{image[1]} differ"
    return (float(np.mean(list(times.values()))) if complete and times else None), remark


def doubts(
    given: Sequence[Prediction], on_scored_images: Iterable[Prediction], objects: Container[int]
) -> list[str]:
    """What of a results file counts for nothing, and translations that look like metres.

    Args:
        given: all that the file holds. on_scored_images: those of them whose image was scored.
        objects: numbers of the objects scored.
    """
    if not given:
        return ["the results file holds no estimate"]
    said = []
    images = {(p.scene_id, p.image_id) for p in on_scored_images}
    away = [p for p in given if (p.scene_id, p.image_id) not in images]
    if away:
        first = f"scene {away[0].scene_id}, image {away[0].image_id}"
        said.append(f"{_left_out(away, given)}, of images not scored here (the first: {first})")
    if unknown := [p for p in given if p.object_id not in objects]:
        ids = ", ".join(map(str, sorted({p.object_id for p in unknown})))
        said.append(f"{_left_out(unknown, given)}, of objects not scored here ({ids})")
    distance = float(np.median([np.linalg.norm(p.t) for p in given]))
    if distance < NEAREST_M:
        said.append(
            f"half of the translations are shorter than {1000 * distance:.2g} mm, as if they were "
            "written in metres: BOP's are in millimetres"
        )
    return said


def _left_out(some: Sequence[Prediction], given: Sequence[Prediction]) -> str:
    return f"left out: {len(some)} of {len(given)} estimates"


def read_bop_results(path: str | Path) -> list[Prediction]:
    """Read estimates; poses in metres.

    Raises:
        InputError: the file is missing, or a line is not an estimate (the message names it).
    """
    path = Path(path)
    found = []
    text = read_bytes(path, "results file").decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or (number == 1 and HEADER in line):
            continue
        cells = line.split(",")
        try:
            if len(cells) != 7:
                raise ValueError(f"it has {len(cells)} cells, not 7")
            R = np.array(cells[4].split(), np.float64).reshape(3, 3)
            t = np.array(cells[5].split(), np.float64).reshape(3) / 1000
            Pose(R, t)  # a line that holds no pose raises; one that does is kept to the digit
            scene_id, image_id, object_id = (int(c) for c in cells[:3])
            score, seconds = float(cells[3]), float(cells[6])
            if math.isnan(score):
                raise ValueError("its score is not a number, so it has no place in their order")
        except (ValueError, InputError) as error:
            raise InputError(
                f"line {number} is not an estimate ({error})",
                path=path,
                remedy=f"Write lines as {HEADER}, R and t separated by blanks, t in millimetres.",
            ) from None
        found.append(Prediction(scene_id, image_id, object_id, score, R, t, seconds=seconds))
    return found
