"""The README's picture: the same frames before and after adaptation, one above the other.

    make demo
    .venv/bin/python scripts/before_after.py out/demo --out resources/screenshots/adapted.jpg

Each frame with the rendering at every predicted pose over it and its outline in yellow (before) or
blue (after); the true outline, known here because the recording is generated, is green and dotted.
Frames are spread evenly over the evaluation split, not chosen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import self6d

COLOURS = {"before": (255, 176, 32), "after": (47, 182, 255)}
TRUTH = (61, 220, 132)
SCORE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="folder that the demo made")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    parser.add_argument("--frames", type=int, default=3)
    given = parser.parse_args()
    dataset = self6d.open_dataset(given.demo / "sample").split("eval")
    indices = np.linspace(0, len(dataset) - 1, given.frames + 2)[1:-1].round().astype(int)
    rows = []
    for label, name in (("before", "stage1"), ("after", "adapted")):
        run = given.demo / name
        models = self6d.load_models(run / "models")
        found = self6d.predict(given.demo / "sample", run, score_threshold=SCORE)
        rows.append(np.hstack([picture(dataset, int(i), found, models, label) for i in indices]))
    cv2.imwrite(str(given.out), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"{given.out}: frames {', '.join(dataset.frame(int(i)).name for i in indices)}")


def picture(
    dataset, index: int, found: Sequence[dict], models: Sequence[self6d.ObjectModel], label: str
) -> np.ndarray:
    """One frame with what was predicted there: (H, W, 3) uint8."""
    frame = dataset.frame(index)
    image = frame.rgb.copy()
    best: dict[int, dict] = {}
    for row in found:
        here = (row["scene_id"], row["image_id"]) == (frame.scene_id, frame.image_id)
        if here and row["score"] > best.get(row["object_id"], {"score": 0.0})["score"]:
            best[row["object_id"]] = row
    for row in best.values():
        colour, covered = drawn(frame, models, row["object_id"], row["R_m2c"], row["t_m2c"])
        image[covered] = (0.45 * image[covered] + 0.55 * colour[covered]).astype(np.uint8)
        cv2.drawContours(image, outline(covered), -1, COLOURS[label], 1, cv2.LINE_AA)
    for truth in dataset.truth(index):
        _, covered = drawn(frame, models, truth.object_id, truth.pose.R_m2c, truth.pose.t_m2c)
        for border in outline(covered):
            for x, y in border[::4, 0]:
                cv2.circle(image, (int(x), int(y)), 1, TRUTH, -1, cv2.LINE_AA)
    for thickness, ink in ((3, (0, 0, 0)), (1, COLOURS[label])):
        cv2.putText(image, label, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, ink, thickness,
                    cv2.LINE_AA)  # fmt: skip
    return image


def drawn(frame, models, object_id: int, R, t) -> tuple[np.ndarray, np.ndarray]:
    """Colours (H, W, 3) uint8 and covered pixels (H, W) bool of one object at a pose."""
    place = [model.object_id for model in models].index(object_id)
    with torch.no_grad():
        view = self6d.render(
            torch.tensor(np.asarray(R), dtype=torch.float32)[None],
            torch.tensor(np.asarray(t), dtype=torch.float32)[None],
            torch.tensor(frame.camera.K, dtype=torch.float32),
            self6d.pack_models(models),
            frame.camera.size,
            object_index=torch.tensor([place]),
            soft_mask=False,
        )
    colour = (view.rgb[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy().astype(np.uint8)
    return colour, view.covered[0].numpy()


def outline(covered: np.ndarray) -> Sequence[np.ndarray]:
    """Borders of a region, as OpenCV gives them."""
    return cv2.findContours(covered.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]


if __name__ == "__main__":
    main()
