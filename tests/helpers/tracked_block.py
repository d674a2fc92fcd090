"""A block that moves before a wall, as a plain recording with depth; it may leave the image."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from block_shapes import block

from self6d.geometry import Pose, axis_angle_to_matrix
from self6d.rendering import pack_models, render

WIDTH, HEIGHT = 160, 120
K = torch.tensor([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])


def pose_at(time: float, away: tuple[float, ...] = ()) -> Pose:
    """Where the block is: it turns 4 degrees and moves 6 mm a frame; far aside at times `away`."""
    turn = torch.tensor([0.3, 0.07 * time + 0.4, 0.02 * time])
    R = axis_angle_to_matrix(turn).double().numpy()
    x = -0.04 + 0.006 * time + (2.0 if time in away else 0.0)
    return Pose(R, np.array([x, 0.01 * np.sin(time), 0.45]))


def write_recording(folder: Path, poses: list[Pose]) -> Path:
    """BOP scene 1, without labels; the sensor's depth in whole millimetres."""
    scene = folder / "test" / "000001"
    for name in ("rgb", "depth"):
        (scene / name).mkdir(parents=True)
    models, camera = pack_models([block()]), {}
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(90, 140, (8, 10, 3)).astype(np.uint8), (WIDTH, HEIGHT))
    for i, pose in enumerate(poses):
        R = torch.tensor(pose.R_m2c, dtype=torch.float32)[None]
        t = torch.tensor(pose.t_m2c, dtype=torch.float32)[None]
        view = render(R, t, K, models, (HEIGHT, WIDTH), soft_mask=False)
        covered = view.covered[0].numpy()
        rgb = (view.rgb[0].permute(1, 2, 0).numpy() * 230).astype(np.uint8)
        rgb = np.where(covered[..., None], rgb, wall)
        depth = np.where(covered, view.depth_m[0].numpy(), 0.8) * 1000
        cv2.imwrite(str(scene / "rgb" / f"{i:06d}.png"), rgb[..., ::-1])
        cv2.imwrite(str(scene / "depth" / f"{i:06d}.png"), depth.round().astype(np.uint16))
        camera[str(i)] = {"cam_K": K.flatten().tolist(), "depth_scale": 1.0}
    (scene / "scene_camera.json").write_text(json.dumps(camera))
    return folder
