"""A labelled recording of generated shapes, or of a run's objects: something to measure on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from self6d.datasets.base import FrameKey
from self6d.datasets.bop_writer import write_bop
from self6d.datasets.recording import Recording
from self6d.geometry import Camera, Pose
from self6d.jobs.prepare import resolve_device
from self6d.runs.load_network import load_network
from self6d.scene import Frame, GroundTruth, ObjectModel
from self6d.synthesis import SceneMaker, SynthesisConfig, scaled_camera
from self6d.synthesis.shapes.generated import generated_models

TOGETHER = 8  # images made at once


def make_recording(
    out: str | Path,
    *,
    from_run: str | Path | None = None,
    shapes: int = 21,
    frames: int = 100,
    height: int = 480,
    seed: int = 0,
    device: str | torch.device = "auto",
    on_frame: Callable[[int, int], None] | None = None,
) -> Path:
    """Write images made as stage 1 makes them as a BOP dataset, with depth, poses and masks.

    Depth is exact: 0.1 mm steps, unknown before the wall. Of an object there is at most one.

    Args:
        out: folder to make; models/ in it are what `train --models` takes.
        from_run: whose objects are shown; None: `shapes` generated ones, of a seed of their own.
        frames: how many. height: of the images, pixels. seed: same seed, same images.
        on_frame: told the number of frames written and of all.

    Raises:
        InputError: `out` holds files. CheckpointError: no network in the run.
    """
    models = generated_models(shapes) if from_run is None else load_network(from_run).models
    made = _Made(models, frames, height, seed, resolve_device(device))
    return write_bop(made, out, models=models, on_frame=on_frame)


class _Made(Recording):
    """Frames made as they are asked for, in groups of which the last is kept."""

    kind = "made"

    def __init__(
        self,
        models: Sequence[ObjectModel],
        count: int,
        height: int,
        seed: int,
        device: torch.device,
    ) -> None:
        super().__init__(Path("made"), [FrameKey(1, i) for i in range(count)])
        config = SynthesisConfig(height=height, repeat=0.0, bins=0.0, background_pool=64)
        self._ids = [model.object_id for model in models]
        self._seed, self._camera = seed, scaled_camera(None, height)
        self._maker = SceneMaker(models, self._camera, config, device)
        self._group = -1
        self._held: list[tuple[Frame, tuple[GroundTruth, ...]]] = []

    def frame(self, index: int, *, depth: bool = True) -> Frame:
        return self._at(index)[0]

    def truth(self, index: int) -> tuple[GroundTruth, ...]:
        return self._at(index)[1]

    def _at(self, index: int) -> tuple[Frame, tuple[GroundTruth, ...]]:
        group, place = divmod(index, TOGETHER)
        if group != self._group:
            self._held, self._group = self._make(group), group
        return self._held[place]

    def _make(self, group: int) -> list[tuple[Frame, tuple[GroundTruth, ...]]]:
        batch = self._maker.make(TOGETHER, self._seed, group)
        images = (batch.images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        depth, K = batch.depth_m.cpu().numpy(), batch.K.double().cpu().numpy()
        numbers = batch.instance_map.cpu().numpy()
        R, t, box, visible = (
            part.double().cpu().numpy()
            for part in (batch.R, batch.t, batch.box_visible, batch.visible_fraction)
        )
        image, objects = batch.image_index.tolist(), batch.object_index.tolist()
        held = []
        for b in range(TOGETHER):
            shown = [n for n, of in enumerate(image) if of == b and visible[n] > 0]
            truth = tuple(
                GroundTruth(
                    self._ids[objects[n]], Pose(R[n], t[n]), float(visible[n]), numbers[b] == n,
                    box[n],
                )
                for n in shown
            )  # fmt: skip
            number = group * TOGETHER + b
            camera = Camera(K[b], self._camera.width, self._camera.height)
            held.append((Frame(images[b], depth[b], camera, 1, number, f"{number}"), truth))
        return held
