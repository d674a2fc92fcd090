"""What the helper process can be asked for. Each public method is a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from self6d.datasets import open_dataset
from self6d.errors import InputError
from self6d.loading import collector_rests
from self6d.scene import ObjectModel
from studio.engine.history import RunHistory, read_history
from studio.engine.recognise import Found, recognise_within
from studio.engine.requests import analysis
from studio.engine.requests.judging import Judges
from studio.engine.requests.recordings import changed_on_disk, info_of
from studio.engine.requests.tracks import read_track
from studio.engine.store import Named, Store
from studio.engine.types import (
    SAMPLE_EVAL,
    SAMPLE_FRAMES,
    BagTopics,
    CloudData,
    ColoursTaken,
    DiskChange,
    FormField,
    FrameData,
    JudgedFrame,
    Landed,
    ModelCard,
    ModelFiles,
    PoseData,
    RecordingInfo,
    RenderData,
    TrackData,
    TrackRow,
    Xray,
)


class Desk:
    """Holds what was opened, so that later requests only name it.

    Args:
        partial: sends an intermediate result of the request under way.
    """

    def __init__(self, partial: Callable[[Any], None]) -> None:
        self._partial = partial
        self._store = Store()
        self._report: Any = None
        self._scores: Any = None
        self._networks = analysis.Networks()
        self._judges = Judges()
        self._films: Any = None
        self._loaded = False

    def load_torch(self) -> None:
        """Load it, for half the cores: the window and the jobs want some too."""
        if self._loaded:
            return
        with collector_rests():
            import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // 2))
        self._loaded = True

    def recognise(self, paths: Sequence[str]) -> list[Found]:
        """What each path is, or holds; see `studio.engine.recognise`."""
        return [found for path in paths for found in recognise_within(path, self._store.dataset)]

    def make_sample(self, out: str) -> str:
        """Generate the sample, reporting (done, total) frames; one there already stays."""
        from self6d.events import Progress
        from self6d.sample.sample import make_sample

        if not (Path(out) / "splits.json").exists():
            make_sample(
                Path(out), frames=SAMPLE_FRAMES, eval_frames=SAMPLE_EVAL,
                listener=lambda e: (
                    self._partial((e.step, e.total)) if isinstance(e, Progress) else None
                ),
            )  # fmt: skip
        return out

    def distances(self, points: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(N,) metres from each point (N, 3) to the nearest of `others` (M, 3)."""
        from studio.engine.requests import clouds

        return clouds.nearest(points, others)

    def open_recording(self, path: str) -> RecordingInfo:
        """Recognise and list a recording."""
        dataset = open_dataset(path)
        self._store.keep(path, dataset)
        return info_of(path, dataset)

    def changed_on_disk(self, path: str, listed: int) -> DiskChange:
        """What has become of an open recording; see `studio.engine.requests.recordings`."""
        return changed_on_disk(path, listed, partial(self._store.written_anew, path))

    def bag_topics(self, path: str) -> BagTopics:
        """Topics of a bag, or of that in an open folder, to choose among."""
        from self6d.datasets.readers.bags.file import is_bag
        from self6d.datasets.readers.bags.topics import offered

        if not is_bag(Path(path)):
            path = str(getattr(self._store.dataset(path), "bag_path", path))
        offer = offered(Path(path))
        chosen = offer.chosen
        now = ("", "", "") if chosen is None else (chosen.colour, chosen.depth, chosen.info)
        return BagTopics(path, offer.colours, offer.depths, offer.infos, *now)

    def choose_topics(self, path: str, colour: str, depth: str, info: str) -> str:
        """Keep a choice of topics beside the bag; the file."""
        from self6d.datasets.readers.bags.topics import keep_choice

        return str(keep_choice(Path(path), colour, depth, info))

    def load_models(self, paths: Named) -> list[ModelCard]:
        """Load CAD files or folders."""
        return [ModelCard.of(m) for m in self._store.models(paths)]

    def models_of_run(self, run: str) -> list[ModelCard]:
        """The objects a run's network knows; none while its folder has no copy of them."""
        from self6d.scene.models_copy import has_models, read_models

        folder = Path(run) / "models"
        return [ModelCard.of(m) for m in read_models(folder)] if has_models(folder) else []

    def frame(self, path: str, index: int) -> FrameData:
        """Decode a frame with its labels."""
        dataset = self._store.dataset(path)
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
        """Small pictures (height, w, 3) uint8, sent one by one as (index, picture).

        A frame that cannot be read has none; that is told where it is opened.
        """
        dataset = self._store.dataset(path)
        for index in indices:
            try:
                rgb = dataset.frame(index).rgb
            except InputError:
                continue
            width = max(1, round(rgb.shape[1] * height / rgb.shape[0]))
            self._partial((index, cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)))

    def render(
        self,
        models: Named,
        poses: Sequence[PoseData],
        K: np.ndarray,
        size: tuple[int, int],
    ) -> RenderData:
        """Draw models at their poses; see `studio.engine.requests.drawing`."""
        from studio.engine.requests.drawing import draw

        store = self._store
        return draw(store.models(models), store.packed(models), poses, K, size)

    def land(
        self, path: str, index: int, models: Named, pose: PoseData, at: tuple[float, float],
        keep_distance: bool,
    ) -> Landed:  # fmt: skip
        """Put an object on a pixel; see `studio.engine.requests.placing`."""
        from studio.engine.requests.placing import land

        model, place = self._one(models, pose.object_id)
        frame = self._store.dataset(path).frame(index)
        packed = self._store.packed(models)
        return land(frame, model, packed, place, pose, at, keep_distance=keep_distance)

    def locate(
        self, path: str, index: int, models: Named, object_id: int, stop_file: str | None = None
    ) -> PoseData | None:
        """Search a whole frame for an object; see `studio.engine.requests.searching`."""
        from studio.engine.requests.searching import search

        model, _ = self._one(models, object_id)
        return search(self._store.dataset(path).frame(index), model, stop_file)

    def read_track(self, run: str, path: str) -> TrackData:
        """What a run of `track` found in a recording; see `studio.engine.requests.tracks`."""
        return read_track(Path(run), self._store.dataset(path).keys)

    def track_so_far(self, run: str, path: str) -> tuple[TrackRow, ...]:
        """What a track at work has found; see `studio.engine.requests.tracks_at_work`."""
        from studio.engine.requests.tracks_at_work import read_track_so_far  # loads torch

        return read_track_so_far(Path(run), self._store.dataset(path))

    def take_colours(
        self, path: str, poses: str, models: ModelFiles, out: str, stop_file: str | None = None
    ) -> ColoursTaken:
        """Models with the recording's colours; see `studio.engine.requests.colours`."""
        from studio.engine.requests.colours import take_colours

        return take_colours(path, poses, models, out, self._partial, stop_file)

    def laptop_settings(self, height: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
        """How `quick` trains both stages: settings by dotted key, and by phase how long.

        Args:
            height: of the recording's images, pixels.
        """
        from self6d.laptop.settings import expected, settings_of_stages

        return *settings_of_stages(height), expected()

    def _one(self, models: Named, object_id: int) -> tuple[ObjectModel, int]:
        """A model and its position among all."""
        known = self._store.models(models)
        place = [m.object_id for m in known].index(object_id)
        return known[place], place

    def cloud(self, path: str, index: int, models: Named, pose: PoseData) -> CloudData:
        """FrameBatch, visible surface and whole model, with distances between them."""
        from studio.engine.requests import clouds

        frame = self._store.dataset(path).frame(index)
        model = next(m for m in self._store.models(models) if m.object_id == pose.object_id)
        drawn = self.render(models, [pose], frame.camera.K, frame.camera.size)
        return clouds.compare(frame, model, pose, drawn)

    def clouds(
        self, path: str, index: int, models: Named, poses: Sequence[PoseData]
    ) -> list[CloudData]:
        """A cloud a pose; without any, the sensor's points alone."""
        from studio.engine.requests import clouds

        if not poses:
            return [clouds.sensor_only(self._store.dataset(path).frame(index))]
        return [self.cloud(path, index, models, pose) for pose in poses]

    def describe(self, kind: str, preset: str | None) -> list[FormField]:
        """Fields of the configuration a kind of run takes, for the form."""
        return analysis.describe(kind, preset)

    def doctor(self, path: str, models: Named) -> dict[str, Any]:
        """The doctor's report as plain data, kept for `doctor_fix`; sends (phase, done, total)."""
        from self6d.doctor import doctor
        from self6d.events import Event, Progress

        def listen(event: Event) -> None:
            if isinstance(event, Progress):
                self._partial((event.phase, event.step, event.total))

        named = models if isinstance(models, ModelFiles) else ModelFiles(tuple(models))
        paths = named.paths or None
        self._report = doctor.examine(path, paths, unit=named.unit, listener=listen)
        return self._report.to_dict()

    def doctor_fix(self, numbers: Sequence[int], out: str) -> RecordingInfo:
        """A copy of the examined recording with some of its findings corrected."""
        from dataclasses import replace

        from self6d.doctor import doctor

        chosen = [self._report.findings[i] for i in numbers]
        doctor.write_fixed(replace(self._report, findings=chosen), out)
        return self.open_recording(out)

    def xray(
        self, path: str, index: int, models: Named, pose: PoseData, weights: dict[str, Any]
    ) -> Xray:
        """Each loss term's pull at a pose; see `studio.engine.requests.xray`."""
        from studio.engine.requests.xray import examine

        _, place = self._one(models, pose.object_id)
        frame = self._store.dataset(path).frame(index)
        return examine(frame, self._store.packed(models), place, pose, weights)

    def synthetic_sheet(
        self, models: Sequence[str], camera: str | None, preset: str, overrides: dict[str, Any],
        images: int = 12, seed: int = 0,
    ) -> np.ndarray:  # fmt: skip
        """Images that stage 1 would train on, as one picture."""
        from self6d.jobs import synthetic_sheet

        return synthetic_sheet(
            models, preset=preset, camera=camera, images=images, seed=seed, device="cpu",
            overrides=overrides,
        )  # fmt: skip

    def predict(
        self, run: str, path: str, index: int, step: int | None = None
    ) -> tuple[int, list[PoseData]]:
        """What a run's network, at a checkpoint or its best, says about a frame from RGB alone.

        Returns:
            the checkpoint's step, and the poses.
        """
        return self._networks.predict(run, self._store.dataset(path).frame(index), step)

    def judge(self, run: str, path: str, indices: Sequence[int]) -> tuple[int, list[JudgedFrame]]:
        """How a run's network agrees with frames; see `studio.engine.requests.judging`."""
        return self._judges.judge(run, self._store.dataset(path), indices, analysis.SCORE)

    def evaluate(
        self, path: str, runs: Sequence[str], split: str | None, stop_file: str | None = None
    ) -> list[dict[str, Any]]:
        """Scores of runs, one table each, reporting (done, total) frames; see `Scores`."""
        return self._kept_scores().evaluate(path, runs, split, self._partial, stop_file)

    def write_evaluation(
        self, kind: str, out: str, path: str, runs: Sequence[str], split: str | None
    ) -> str:
        """Write an evaluation as "csv", "latex", "html" or "bop"."""
        self._kept_scores().write(kind, Path(out), path, runs, split, self._partial)
        return out

    def export_run(self, run: str, to: str, onnx: bool) -> list[str]:
        """Weights and an example of their use; see `self6d-studio export`."""
        from self6d import jobs

        return [str(path) for path in jobs.export(run, to, onnx=onnx)]

    def pack(self, words: Sequence[str], out: str) -> str:
        """A job as a folder for another machine, reporting (done, total) frames."""
        from self6d import jobs
        from self6d.events import count_listener

        return str(jobs.pack(words, out, listener=count_listener(self._partial)))

    def video(self, out: str, path: str, runs: Sequence[str], indices: Sequence[int]) -> str:
        """A film of frames with the poses of one or two runs, reporting (done, total)."""
        from studio.engine.requests.film import make_film

        make_film(Path(out), self._store.dataset(path), runs, indices, self._partial)
        return out

    def write_rrd(self, out: str, path: str, models: Named, layers: Any, runs: Any) -> str:
        """Recording, poses and curves for the viewer Rerun; see `requests.rrd.write_session`."""
        from studio.engine.requests.rrd import write_session

        write_session(Path(out), self._store.dataset(path), self._store.models(models), layers,
                      runs, self._partial)  # fmt: skip
        return out

    def write_labels(
        self, track: str, path: str, models: ModelFiles, out: str, format: Any, confidence: float
    ) -> str:
        """A track's poses as labels, reporting (done, total) frames; what there is to say."""
        from self6d.events import count_listener
        from self6d.labelling import label

        tell = count_listener(self._partial)
        report = label(path, track, list(models.paths), out, format=format, unit=models.unit,
                       confidence=confidence, listener=tell)  # fmt: skip
        return " ".join(report.lines())

    def film_frame(self, out: str, picture: np.ndarray) -> None:
        """Append a picture (H, W, 3) uint8 to a film; see `studio.engine.requests.film.Films`."""
        from studio.engine.requests.film import Films

        self._films = self._films or Films()
        self._films.add(out, picture)

    def film_end(self, out: str, to: str) -> None:
        """A film is whole: give it its name."""
        self._films.end(out, to)

    def film_drop(self, out: str) -> None:
        """Leave nothing of a film."""
        if self._films is not None:
            self._films.drop(out)

    def history(self, run: str) -> RunHistory:
        """Curves, checkpoints and previews of a run."""
        return read_history(run)

    def _kept_scores(self) -> Any:
        if self._scores is None:
            from studio.engine.requests.scores import Scores

            self._scores = Scores()
        return self._scores
