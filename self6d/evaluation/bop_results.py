"""BOP's results files: one line an estimate, millimetres.

Format: scene_id,im_id,obj_id,score,R,t,time with R row-major and t in mm, both separated by blanks
(BOP Challenge 2019 and later).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from self6d.errors import InputError
from self6d.evaluation.predictions import Prediction
from self6d.files import check_new, read_bytes, write_file
from self6d.geometry import Pose

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
        except (ValueError, InputError) as error:
            raise InputError(
                f"line {number} is not an estimate ({error})",
                path=path,
                remedy=f"Write lines as {HEADER}, R and t separated by blanks, t in millimetres.",
            ) from None
        found.append(Prediction(scene_id, image_id, object_id, score, R, t, seconds=seconds))
    return found
