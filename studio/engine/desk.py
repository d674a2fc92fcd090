"""What the helper process can be asked for. Each public method is a request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from self6d.datasets import Dataset, load_models, open_dataset
from self6d.render import PackedModels, pack_models, render
from self6d.scene import ObjectModel
from studio.engine import analysis, clouds
from studio.engine.history import RunHistory, read_history
from studio.engine.recognise import Found, recognise
from studio.engine.types import (
    CloudData,
    FormField,
    FrameData,
    ModelInfo,
    PoseData,
    RecordingInfo,
    RenderData,
    Xray,
)
from studio.views.compose import contours

KEPT_RECORDINGS = 4


class Desk:
    """Holds what was opened, so that later requests only name it.

    Args:
        partial: sends an intermediate result of the request under way.
    """

    def __init__(self, partial: Callable[[Any], None]) -> None:
        self._partial = partial
        self._recordings: OrderedDict[str, Dataset] = OrderedDict()
        self._models: dict[tuple, list[ObjectModel]] = {}
        self._packed: dict[tuple, PackedModels] = {}
        self._report: Any = None
        self._scores: Any = None
        self._networks = analysis.Networks()
        torch.set_num_threads(max(1, torch.get_num_threads() // 2))

    def recognise(self, paths: Sequence[str]) -> list[Found]:
        """What each path is; see `studio.engine.recognise`."""
        return [recognise(path, self.dataset) for path in paths]

    def make_sample(self, out: str) -> str:
        """Generate the sample, reporting (done, total) frames; one there already stays."""
        from self6d.datasets.sample import make_sample
        from self6d.training.events import Progress

        if not (Path(out) / "splits.json").exists():
            make_sample(
                Path(out),
                listener=lambda e: (
                    self._partial((e.step, e.total)) if isinstance(e, Progress) else None
                ),
            )
        return out

    def distances(self, points: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(N,) metres from each point (N, 3) to the nearest of `others` (M, 3)."""
        return clouds.nearest(points, others)

    def open_recording(self, path: str) -> RecordingInfo:
        """Recognise and list a recording."""
        dataset = open_dataset(path)
        self._keep(path, dataset)
        positions = {key: index for index, key in enumerate(dataset.keys)}
        splits = {
            name: tuple(positions[key] for key in dataset.split(name).keys if key in positions)
            for name in dataset.split_names()
        }
        first = dataset.frame(0)
        probes = {
            *_spread(len(dataset), 5),
            *(indices[0] for indices in splits.values() if indices),
        }
        models = getattr(dataset, "models_path", None)
        return RecordingInfo(
            root=str(path),
            kind=dataset.kind,
            keys=tuple((key.scene_id, key.image_id) for key in dataset.keys),
            reason=getattr(dataset, "reason", ""),
            splits=splits,
            models=str(models) if models else None,
            has_depth=first.depth_m is not None,
            has_truth=any(dataset.truth(i) for i in probes),
            size=first.rgb.shape[:2],
        )

    def load_models(self, paths: Sequence[str], unit: str = "auto") -> list[ModelInfo]:
        """Load CAD files or folders."""
        return [
            ModelInfo(
                object_id=m.object_id,
                name=m.name,
                source=str(m.source or ""),
                diameter=float(m.diameter),
                extents=m.extents,
                vertex_count=len(m.vertices),
                face_count=len(m.faces),
                symmetric=m.symmetric,
                has_color=m.has_color,
            )
            for m in self.objects(paths, unit)
        ]

    def frame(self, path: str, index: int) -> FrameData:
        """Decode a frame with its labels."""
        dataset = self.dataset(path)
        frame = dataset.frame(index)
        return FrameData(
            index=index,
            name=frame.name,
            rgb=np.ascontiguousarray(frame.rgb),
            depth_m=frame.depth_m,
            K=frame.camera.K,
            truth=tuple(
                PoseData(t.object_id, t.pose.R_m2c, t.pose.t_m2c) for t in dataset.truth(index)
            ),
        )

    def thumbnails(self, path: str, indices: Sequence[int], height: int) -> None:
        """Small pictures (height, w, 3) uint8, sent one by one as (index, picture)."""
        dataset = self.dataset(path)
        for index in indices:
            rgb = dataset.frame(index).rgb
            width = max(1, round(rgb.shape[1] * height / rgb.shape[0]))
            self._partial((index, cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)))

    def render(
        self,
        models: Sequence[str],
        poses: Sequence[PoseData],
        K: np.ndarray,
        size: tuple[int, int],
        unit: str = "auto",
    ) -> RenderData:
        """Draw models at their poses; those with no model are left out."""
        objects = self.objects(models, unit)
        place = {m.object_id: i for i, m in enumerate(objects)}
        known = tuple(p for p in poses if p.object_id in place and p.t[2] > 0)
        h, w = size
        rgb = np.zeros((h, w, 3), np.uint8)
        depth = np.full((h, w), np.inf, np.float32)
        owner = np.full((h, w), -1, np.int16)
        outlines: list[tuple[np.ndarray, ...]] = []
        if known:
            drawn = self._draw(models, unit, known, [place[p.object_id] for p in known], K, size)
            for i in range(len(known)):
                covered = drawn.covered[i].numpy()
                z = drawn.depth_m[i].numpy()
                nearer = covered & (z < depth)
                depth[nearer] = z[nearer]
                owner[nearer] = i
                picture = (drawn.rgb[i].clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
                rgb[nearer] = picture[nearer]
                outlines.append(tuple(contours(covered)))
        return RenderData(
            poses=known, rgb=rgb, depth_m=np.where(owner >= 0, depth, 0).astype(np.float32),
            owner=owner, outlines=tuple(outlines),
        )  # fmt: skip

    def cloud(
        self, path: str, index: int, models: Sequence[str], pose: PoseData, unit: str = "auto"
    ) -> CloudData:
        """Sensor, visible surface and whole model, with distances between them."""
        frame = self.dataset(path).frame(index)
        model = next(m for m in self.objects(models, unit) if m.object_id == pose.object_id)
        drawn = self.render(models, [pose], frame.camera.K, frame.camera.size, unit)
        return clouds.compare(frame, model, pose, drawn)

    def sensor_cloud(self, path: str, index: int) -> CloudData:
        """The sensor's points alone, where there is no pose yet."""
        return clouds.sensor_only(self.dataset(path).frame(index))

    def describe(self, kind: str, preset: str | None) -> list[FormField]:
        """Fields of the configuration a kind of run takes, for the form."""
        return analysis.describe(kind, preset)

    def doctor(self, path: str, models: Sequence[str]) -> dict[str, Any]:
        """The doctor's report as plain data; kept for `doctor_fix`."""
        from self6d.datasets import doctor

        self._report = doctor.examine(path, models[0] if len(models) == 1 else None)
        return self._report.to_dict()

    def doctor_fix(self, numbers: Sequence[int], out: str) -> RecordingInfo:
        """A copy of the examined recording with some of its findings corrected."""
        from dataclasses import replace

        from self6d.datasets import doctor

        chosen = [self._report.findings[i] for i in numbers]
        doctor.write_fixed(replace(self._report, findings=chosen), out)
        return self.open_recording(out)

    def xray(
        self,
        path: str,
        index: int,
        models: Sequence[str],
        pose: PoseData,
        weights: dict[str, Any],
        unit: str = "auto",
    ) -> Xray:
        """Each loss term's pull at a pose; see `studio.engine.xray`."""
        from studio.engine.xray import examine

        place = [m.object_id for m in self.objects(models, unit)].index(pose.object_id)
        frame = self.dataset(path).frame(index)
        return examine(frame, self.packed(models, unit), place, pose, weights)

    def synthetic_sheet(
        self,
        models: Sequence[str],
        camera: str | None,
        preset: str,
        overrides: dict[str, Any],
        images: int = 12,
        seed: int = 0,
    ) -> np.ndarray:
        """Images that stage 1 would train on, as one picture."""
        return analysis.synthetic_sheet(models, camera, preset, overrides, images, seed)

    def predict(self, run: str, path: str, index: int) -> list[PoseData]:
        """What a run's network says about a frame, from RGB alone."""
        return self._networks.predict(run, self.dataset(path).frame(index))

    def evaluate(self, path: str, runs: Sequence[str], split: str | None) -> list[dict[str, Any]]:
        """Scores of runs, one table each, reporting (done, total) frames."""
        return self._kept_scores().evaluate(path, runs, split, self._partial)

    def write_evaluation(
        self, kind: str, out: str, path: str, runs: Sequence[str], split: str | None
    ) -> str:
        """Write an evaluation as "csv", "latex", "html" or "bop"."""
        self._kept_scores().write(kind, Path(out), path, runs, split, self._partial)
        return out

    def export_run(self, run: str, to: str, onnx: bool) -> list[str]:
        """Weights and an example of their use; see `self6d-studio export`."""
        from self6d.training import jobs

        return [str(path) for path in jobs.export(run, to, onnx=onnx)]

    def video(self, out: str, path: str, runs: Sequence[str], indices: Sequence[int]) -> str:
        """A film of frames with the poses of one or two runs, reporting (done, total)."""
        from studio.engine.film import make_film

        make_film(Path(out), self.dataset(path), runs, indices, self._partial)
        return out

    def history(self, run: str) -> RunHistory:
        """Curves, checkpoints and previews of a run."""
        return read_history(run)

    def dataset(self, path: str) -> Dataset:
        if path not in self._recordings:
            self._keep(path, open_dataset(path))
        self._recordings.move_to_end(path)
        return self._recordings[path]

    def objects(self, paths: Sequence[str], unit: str = "auto") -> list[ObjectModel]:
        key = (tuple(paths), unit)
        if key not in self._models:
            self._models.clear()
            self._packed.clear()
            loaded: list[ObjectModel] = []
            for path in paths:
                loaded += load_models(Path(path), unit=unit)
            self._models[key] = loaded
        return self._models[key]

    def packed(self, paths: Sequence[str], unit: str = "auto") -> PackedModels:
        key = (tuple(paths), unit)
        if key not in self._packed:
            self._packed[key] = pack_models(self.objects(paths, unit))
        return self._packed[key]

    def _draw(
        self,
        models: Sequence[str],
        unit: str,
        poses: Sequence[PoseData],
        places: list[int],
        K: np.ndarray,
        size: tuple[int, int],
    ) -> Any:
        with torch.no_grad():
            return render(
                torch.tensor(np.stack([p.R for p in poses]), dtype=torch.float32),
                torch.tensor(np.stack([p.t for p in poses]), dtype=torch.float32),
                torch.tensor(K, dtype=torch.float32),
                self.packed(models, unit),
                size,
                object_index=torch.tensor(places),
                soft_mask=False,
            )

    def _kept_scores(self) -> Any:
        if self._scores is None:
            from studio.engine.scores import Scores

            self._scores = Scores()
        return self._scores

    def _keep(self, path: str, dataset: Dataset) -> None:
        self._recordings[path] = dataset
        while len(self._recordings) > KEPT_RECORDINGS:
            self._recordings.popitem(last=False)


def _spread(count: int, wanted: int) -> list[int]:
    """A few indices over the whole range."""
    return sorted({round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)})
