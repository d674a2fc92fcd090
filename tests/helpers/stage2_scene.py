"""A small recording with a known truth, and a network that knows its object a little."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from block_shapes import block
from made_once import made_once

from self6d.datasets import UnlabelledFrames
from self6d.datasets.base import FrameKey
from self6d.datasets.pose_track import PoseTrack, TrackedPose, TrackState
from self6d.engine.finite import finite_step
from self6d.geometry import Camera, Pose, axis_angle_to_matrix, random_rotations
from self6d.network import NetworkConfig, PoseNetwork
from self6d.rendering import pack_models, render
from self6d.scene import Frame
from self6d.scene.batch import FrameBatch
from self6d.stage2.labelled import labelled_batch

MODEL = block()
HEIGHT, WIDTH, FRAMES = 96, 128, 8
K = torch.tensor([[150.0, 0, 64], [0, 150.0, 48], [0, 0, 1]])


@cache
def poses():
    """R (8, 3, 3), t (8, 3): a slow turn about a fixed axis, as a recording has."""
    generator = torch.Generator().manual_seed(3)
    first = random_rotations(1, generator=generator)
    angle = torch.linspace(0, 1.4, FRAMES)
    axis = torch.tensor([0.3, 0.8, 0.5])
    R = axis_angle_to_matrix(axis / axis.norm() * angle[:, None]) @ first
    t = torch.stack((angle * 0.03 - 0.02, 0.02 - 0.02 * angle, 0.34 + 0.04 * angle), -1)
    return R, t


@cache
def sensor(real: bool):
    """The frames as a camera with another light and noise sees them, or as stage 1 renders them."""
    R, t = poses()
    with torch.no_grad():
        view = render(R, t, K.expand(FRAMES, 3, 3), pack_models([MODEL]), (HEIGHT, WIDTH))
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(FRAMES, 3, 12, 16, generator=generator)
    behind = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")
    covered = view.covered[:, None]
    images = torch.where(covered, view.rgb, behind)
    depth = torch.where(view.covered, view.depth_m, torch.full_like(view.depth_m, 0.6))
    if real:
        warm = torch.tensor([1.1, 1.0, 0.85]).view(3, 1, 1)
        images = (images.clamp_min(0) ** 1.2 * 0.9 * warm).clamp(0, 1)
        images = (images + 0.02 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
        depth = depth + 0.001 * torch.randn(depth.shape, generator=generator)
    return FrameBatch(images, depth, K.expand(FRAMES, 3, 3))


class Recording:
    """A dataset of the frames; asking it for a label is an error of the test."""

    root, kind = Path("recording"), "test"
    keys = tuple(FrameKey(1, i) for i in range(FRAMES))

    def __init__(self, with_depth=True):
        self.with_depth = with_depth

    def __len__(self):
        return FRAMES

    def frame(self, index, *, depth=True):
        seen = sensor(real=True)
        rgb = (seen.images[index].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        metres = seen.depth_m[index].numpy() if self.with_depth and depth else None
        camera = Camera(K.numpy(), WIDTH, HEIGHT)
        return Frame(rgb, metres, camera, 1, index, f"frame {index}")

    def truth(self, index):
        raise AssertionError("a label was asked for")

    def split_names(self):
        return ()

    def split(self, name):
        raise NotImplementedError

    def subset(self, indices):
        raise NotImplementedError


class Written(Recording):
    """The recording with some values over the first pixels' depth, or over the whole of it."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def frame(self, index):
        frame = super().frame(index)
        depth = frame.depth_m.copy()
        depth.ravel()[: len(self.values)] = self.values
        return replace(frame, depth_m=depth)


def track(sure=lambda number: 0.9) -> PoseTrack:
    """The true poses, as a tracker gives them, each with its confidence."""
    R, t = poses()
    keys = UnlabelledFrames(Recording()).keys
    return PoseTrack(
        tuple(
            TrackedPose(
                key, MODEL.object_id, 0, TrackState.TRACKED,
                Pose(R[i].double().numpy(), t[i].double().numpy()), sure(i),
            )
            for i, key in enumerate(keys)
        )
    )  # fmt: skip


def config():
    small = NetworkConfig.preset("tiny")
    small.backbone, small.crop_backbone = "resnet10-w16", "resnet10-w16"
    small.rois_per_image = 1
    return small


@cache
def _trained(steps, seed):
    path = made_once(
        f"stage2_{steps}_{seed}.pt", lambda path: torch.save(_train(steps, seed), path)
    )
    return torch.load(path)


def _train(steps, seed):
    torch.manual_seed(seed)
    network = PoseNetwork(config(), [MODEL])
    R, t = poses()
    rows = torch.arange(FRAMES)
    batch = labelled_batch(
        sensor(real=False), pack_models([MODEL]), R, t, rows, torch.zeros_like(rows)
    )
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 10)
        finite_step(optimizer, parameters, network.losses(batch, generator)["total"], 5.0)
    return {k: v.clone() for k, v in network.eval().state_dict().items()}


def network(steps=60, seed=0):
    """Trained for `steps` on clean renderings of the frames: finds the object, poses are rough."""
    fresh = PoseNetwork(config(), [MODEL])
    fresh.load_state_dict(_trained(steps, seed))
    return fresh.eval()


def far_off(share, seed=0):
    """The same with its distances off by a known `share`, whatever a CPU's rounding trained.

    How far sixty steps lead depends on the last bits of every sum; the bias of the distance makes
    the start equally bad everywhere.
    """
    off, (_, t) = network(seed=seed), poses()
    seen = sensor(real=True)
    found = off.predict(seen.images, seen.K)
    now = (found.t[:, 2] / t[found.image_index, 2]).log().median()
    with torch.no_grad():
        log_distance = list(off.regions.translate.parameters())[-1].view(-1)[2:]
        log_distance += math.log1p(share) - now
    return off
