"""The sample: a generated RGB-D recording of three objects on a table, with its CAD.

It plays the part of a user's recording: a hand-held sensor whose lighting, paint, noise and depth
faults differ from what stage 1 renders. Its renderer, shading and sensor are its own.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from self6d.errors import InputError
from self6d.events import Listener, Progress
from self6d.files import check_free
from self6d.paths import resource
from self6d.sample.scene import CameraPath, arrange, resting_rotations
from self6d.sample.shot import Shot, shoot
from self6d.sample.things import Solid
from self6d.scene.mesh_io import load_models
from self6d.storage import whole_folder

BLOCK = 10  # unlabelled frames of one arrangement of the table
VIEWS = 3  # frames of an arrangement that only "moved" shows
SCENE = 1


def models_folder() -> Path:
    """The sample's CAD, BOP layout."""
    return resource("sample/models")


def make_sample(
    out: Path,
    seed: int = 7,
    frames: int = 160,
    eval_frames: int = 60,
    size: tuple[int, int] = (240, 320),
    listener: Listener | None = None,
) -> Path:
    """Write the sample as a BOP dataset: test/000001, models/ and splits.json.

    The same arguments give the same bytes. Of its splits "eval" holds other views of the
    arrangements that "adapt" shows, and "moved" arrangements that it does not. The truth of "adapt"
    frames goes to scene_gt_upper_bound_only.json and nowhere else.

    Args:
        out: folder to create; must not exist or be empty.
        seed: source of every draw. frames, eval_frames: lengths of the splits "adapt" and "eval";
            "moved" is half as long as "eval".
        size: (height, width), pixels. listener: receives `Progress`.

    Returns:
        `out`.

    Raises:
        InputError: `out` holds files, or a length or size is not usable.
    """
    out = Path(out)
    check_free(out)
    if frames < 1 or eval_frames < 0 or min(size) < 64:
        raise InputError(f"cannot make {frames} + {eval_frames} frames of size {size}")
    with whole_folder(out) as part:
        _write(part, seed, _plan(frames, eval_frames), size, listener)
    return out


def _plan(frames: int, eval_frames: int) -> list[tuple[str, int, int]]:
    """(split, arrangement, image id) of every frame, in the order they are recorded.

    As in LineMOD the held-out frames are of the recording that is adapted to: the last views of
    each arrangement. Half as many again show arrangements of which there is no unlabelled frame.
    """
    arrangements = -(-frames // BLOCK)
    plan: list[tuple[str, int, int]] = []

    def record(split: str, arrangement: int, count: int) -> None:
        plan.extend([(split, arrangement, len(plan) + i) for i in range(count)])

    for i in range(arrangements):
        for split, total in (("adapt", frames), ("eval", eval_frames)):
            record(split, i, total * (i + 1) // arrangements - total * i // arrangements)
    half = -(-eval_frames // 2)
    for first in range(0, half, VIEWS):
        record("moved", arrangements + first // VIEWS, min(VIEWS, half - first))
    return plan


def _write(
    out: Path,
    seed: int,
    plan: Sequence[tuple[str, int, int]],
    size: tuple[int, int],
    listener: Listener | None,
) -> None:
    shutil.copytree(models_folder(), out / "models")
    objects = {
        model.object_id: Solid(model.vertices.astype(float), model.faces, model.colors**2.2)
        for model in load_models(out / "models")
    }
    scene = out / "test" / f"{SCENE:06d}"
    for name in ("rgb", "depth", "mask_visib"):
        (scene / name).mkdir(parents=True)
    height, width = size
    fx = 0.962 * width
    K = np.array([[fx, 0, 0.507 * width], [0, 1.003 * fx, 0.489 * height], [0, 0, 1]])
    path = CameraPath(np.random.default_rng([seed, 0]))
    resting = {i: resting_rotations(solid.vertices) for i, solid in objects.items()}

    def record(block: int) -> list[tuple[str, int, Shot]]:
        rng = np.random.default_rng([seed, 1, block])
        world = arrange(objects, resting, rng, covering=block // 3)
        return [
            (
                split,
                image,
                shoot(world, path(image), K, size, np.random.default_rng([seed, 2, image])),
            )
            for split, b, image in plan
            if b == block
        ]

    began, done = time.monotonic(), 0
    truths: dict[str, dict] = {"adapt": {}, "eval": {}, "moved": {}}
    infos: dict[str, list] = {}
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for shots in pool.map(record, range(plan[-1][1] + 1)):
            for split, image, shot in shots:
                _save(scene, image, shot, with_masks=split != "adapt")
                truths[split][str(image)] = shot.truth
                if split != "adapt":
                    infos[str(image)] = shot.info
            done += len(shots)
            if listener is not None:
                left = (time.monotonic() - began) / done * (len(plan) - done)
                listener(Progress(done, len(plan), left, "sample"))
    K_file = K.copy()
    K_file[:2, 2] -= 0.5  # files put pixel centres at whole numbers
    camera = {"cam_K": K_file.ravel().tolist(), "depth_scale": 1.0}
    _dump(scene / "scene_camera.json", {str(image): camera for _, _, image in plan})
    _dump(scene / "scene_gt.json", truths["eval"] | truths["moved"])
    _dump(scene / "scene_gt_info.json", infos)
    _dump(scene / "scene_gt_upper_bound_only.json", truths["adapt"])
    splits = {name: [i for split, _, i in plan if split == name] for name in truths}
    (out / "splits.json").write_text(json.dumps(splits) + "\n")
    (out / "camera.json").write_text(
        json.dumps(
            {"fx": K_file[0, 0], "fy": K_file[1, 1], "cx": K_file[0, 2], "cy": K_file[1, 2],
             "width": width, "height": height, "depth_scale": 1.0}, indent=1,
        ) + "\n"
    )  # fmt: skip


def _save(scene: Path, image: int, shot: Shot, with_masks: bool) -> None:
    _image(scene / "rgb" / f"{image:06d}.jpg", shot.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    _image(scene / "depth" / f"{image:06d}.png", shot.depth_mm, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if with_masks:
        for i, mask in enumerate(shot.masks):
            path = scene / "mask_visib" / f"{image:06d}_{i:06d}.png"
            _image(path, mask.astype(np.uint8) * 255, [])


def _image(path: Path, image: np.ndarray, options: list[int]) -> None:
    ok, data = cv2.imencode(path.suffix, np.ascontiguousarray(image), options)
    if not ok:
        raise InputError("image could not be encoded", path=path)
    path.write_bytes(data.tobytes())


def _dump(path: Path, rows: dict) -> None:
    """A JSON object with one line for each image, as BOP writes it."""
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items())
    path.write_text("{\n" + lines + "\n}\n")
