"""Rendered data sets with truth (BOP's train_pbr) as training batches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from self6d.datasets import open_dataset
from self6d.datasets.base import Dataset
from self6d.errors import InputError
from self6d.geometry import Camera
from self6d.rendering import pack_models, render
from self6d.rng import step_generator
from self6d.scene import ObjectModel
from self6d.scene.batch import LabelledBatch
from self6d.synthesis.config import SynthesisConfig
from self6d.synthesis.measures import CUBE, Shapes
from self6d.synthesis.random_camera import augment
from self6d.synthesis.record import upload
from self6d.synthesis.windows import (
    GROUPS,
    Composite,
    Compositor,
    mask_boxes,
    place_windows,
    window_intrinsics,
)

READERS = 8
KEPT = 4  # batches being read ahead
OCCLUDED_M = 0.005  # something this much nearer than the rendered surface hides it


@dataclass(frozen=True)
class CameraShot:
    """One image of the set, at the size trained on.

    Attributes:
        rgb: (H, W, 3) uint8. depth_m: (H, W) float32, metres, 0 where unknown. K: (3, 3).
        object_index: (n,), R: (n, 3, 3), t: (n, 3), metres, of the known objects in it.
    """

    rgb: np.ndarray
    depth_m: np.ndarray
    K: np.ndarray
    object_index: np.ndarray
    R: np.ndarray
    t: np.ndarray


class PbrScenes:
    """Batches from a labelled data set; makes what `SceneMaker.make` makes.

    Silhouettes are rendered from the poses; what stands in front of them is told by the set's
    depth. Files are read by threads, ahead of their use where `prepare` was called.

    Args:
        path: a BOP data set or split with truth.
        models: the objects, in the order of `object_index`; others in the set only occlude.
        camera: its size is that of the images made.
        config: see `SynthesisConfig`.
        device: where batches go.

    Raises:
        InputError: no frame of the set shows any of the objects.
    """

    def __init__(
        self,
        path: str | Path,
        models: Sequence[ObjectModel],
        camera: Camera,
        config: SynthesisConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        self.dataset: Dataset = open_dataset(Path(path))
        self.index = {model.object_id: i for i, model in enumerate(models)}
        self.camera, self.config, self.device = camera, config, torch.device(device)
        self.shapes = Shapes.of(models)
        self.packed = pack_models(models, device=self.device)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="pbr")
        self._ahead: OrderedDict[tuple[int, int, int], list[Future[CameraShot]]] = OrderedDict()
        if not any(self._labels(i)[0] for i in range(min(len(self.dataset), 200))):
            raise InputError(
                "data set shows none of the objects in its first frames, or has no truth",
                path=Path(path),
                remedy="Set synthesis.pbr to a BOP split with scene_gt.json of these models.",
            )

    def prepare(self, batch_size: int, seed: int, step: int) -> None:
        """Start reading the files of a batch."""
        key = (batch_size, seed, step)
        if key in self._ahead:
            return
        g = step_generator(seed, step, stream=2)
        rows = torch.randint(len(self.dataset), (batch_size,), generator=g).tolist()
        self._ahead[key] = [self._pool.submit(self._read, row) for row in rows]
        while len(self._ahead) > KEPT:
            for future in self._ahead.popitem(last=False)[1]:
                future.cancel()

    @torch.no_grad()
    def make(self, batch_size: int, seed: int, step: int, *, effects: bool = True) -> LabelledBatch:
        """A batch of randomly chosen images; arguments as `SceneMaker.make`."""
        self.prepare(batch_size, seed, step)
        shots = [future.result() for future in self._ahead.pop((batch_size, seed, step))]
        images = torch.from_numpy(np.stack([shot.rgb for shot in shots])).to(self.device)
        images = images.permute(0, 3, 1, 2).float() / 255
        depth = torch.from_numpy(np.stack([shot.depth_m for shot in shots])).to(self.device)
        K = torch.from_numpy(np.stack([shot.K for shot in shots])).float()
        image = torch.arange(batch_size).repeat_interleave(
            torch.tensor([len(shot.t) for shot in shots])
        )

        def joined(name: str) -> Tensor:
            return torch.from_numpy(np.concatenate([getattr(shot, name) for shot in shots]))

        which, R, t = joined("object_index"), joined("R").float(), joined("t").float()
        if effects:
            g = step_generator(seed, step, stream=3)
            images = augment(images, g, self.config.camera_effects)
        return self._labelled(images, depth, K, image, which, R, t)

    def _labels(self, row: int) -> tuple[list[int], list[np.ndarray], list[np.ndarray]]:
        known = [label for label in self.dataset.truth(row) if label.object_id in self.index]
        return (
            [self.index[label.object_id] for label in known],
            [label.pose.R_m2c for label in known],
            [label.pose.t_m2c for label in known],
        )

    def _read(self, row: int) -> CameraShot:
        frame = self.dataset.frame(row)
        height, width = self.camera.size
        rgb, depth = frame.rgb, frame.depth_m
        if depth is None:
            depth = np.zeros(rgb.shape[:2], np.float32)
        if rgb.shape[:2] != (height, width):
            rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
            depth = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        which, R, t = self._labels(row)
        return CameraShot(
            rgb=rgb,
            depth_m=depth,
            K=frame.camera.resized(width, height).K,
            object_index=np.array(which, dtype=np.int64),
            R=np.array(R, dtype=np.float64).reshape(-1, 3, 3),
            t=np.array(t, dtype=np.float64).reshape(-1, 3),
        )

    def _silhouettes(
        self, K: Tensor, image: Tensor, which: Tensor, R: Tensor, t: Tensor
    ) -> Composite:
        """All instances, each alone and together, without anything else."""
        centre = (R @ self.shapes.centre[which][..., None])[..., 0] + t
        corners = centre[:, None] + (self.shapes.half[which][:, None] * CUBE) @ R.mT
        per_thing = K[image]
        windows = place_windows(corners, per_thing, self.camera.size, GROUPS)
        n, order = len(which), windows.order
        table, things, R, t, local, which = upload(
            self.device,
            windows.table(image, torch.arange(n)),
            order,
            R[order],
            t[order],
            window_intrinsics(per_thing, windows.corner)[order],
            which[order],
        )
        compositor = Compositor(windows, table, n, len(K), self.camera.size)
        for first, last, height, width in windows.groups:
            rows = slice(first, last)
            rendering = render(
                R[rows],
                t[rows],
                local[rows],
                self.packed,
                (height, width),
                object_index=which[rows],
                soft_mask=False,
            )
            compositor.add(things[rows], rendering.rgb, rendering.depth_m)
        return compositor.resolve()

    def _labelled(
        self,
        images: Tensor,
        depth: Tensor,
        K: Tensor,
        image: Tensor,
        which: Tensor,
        R: Tensor,
        t: Tensor,
    ) -> LabelledBatch:
        device, n = self.device, len(which)
        batch = LabelledBatch(
            images=images,
            K=K.to(device),
            depth_m=depth,
            instance_map=torch.full(depth.shape, -1, dtype=torch.int32, device=device),
            image_index=image.to(device),
            object_index=which.to(device),
            R=R.to(device),
            t=t.to(device),
            mask_amodal=torch.zeros(n, *depth.shape[1:], dtype=torch.bool, device=device),
            box_visible=torch.zeros(n, 4, device=device),
            box_amodal=torch.zeros(n, 4, device=device),
            visible_fraction=torch.zeros(n, device=device),
        )
        if n == 0:
            return batch
        composite = self._silhouettes(K, image, which, R, t)
        hidden = (depth > 0) & (depth < 0.99 * composite.depth_m - OCCLUDED_M)
        batch.instance_map = torch.where(hidden, -1, composite.thing).int()
        visible = batch.mask_visible(torch.arange(n, device=device))
        origin = torch.zeros(n, dtype=torch.int64, device=device)
        batch.mask_amodal, batch.box_amodal = composite.mask_whole, composite.box_whole
        batch.box_visible = mask_boxes(visible, origin, origin)
        batch.visible_fraction = visible.sum((1, 2)) / composite.whole.clamp_min(1)
        return batch
