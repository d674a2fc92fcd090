"""Jobs of tracking and of learning from a track, as things stand; no widgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from self6d.laptop.order import AFTER, COLOURS, STAGE_1, TITLES, phases_of_learning, stage_2_of
from self6d.paths import POSES
from self6d.runs.provenance import Provenance
from self6d.tracking.rgb.told import NO_SEARCH, told_without_depth
from studio.engine.types import ModelCard
from studio.jobs import JobSpec
from studio.jobs.run_info import RunInfo, free_name, read_run
from studio.model.machine import has_gpu
from studio.model.project import Project
from studio.model.settings import Settings
from studio.model.start_files import write_start
from studio.model.track import PoseKey, file_of, starts_of
from studio.posing.nudge import centre_of

KEYS, SEARCH = "keys", "search"
COLOURED = "recolour.json"  # in a folder of models with a recording's colours
TIMES = "Times are of two idle CPU cores; yours may differ"


class TrackPlan:
    """What would be started, and why it cannot be.

    Attributes:
        chosen: start that was asked for: KEYS, SEARCH or a run's path; None: what there is.
        more: settings of a run that was taken over and have no box here, by name.
        own: settings of stage 1 and of stage 2 as `quick` has them, and by phase how long each
            takes in words; None until they are known.
        with_colours: networks learn from models with the recording's colours.
        focal_error: how well the camera is known where there is no depth, as a share; None: as
            configured.
    """

    def __init__(self, project: Project, settings: Settings) -> None:
        self.project, self.settings = project, settings
        self.chosen: str | None = None
        self.more: dict[str, Any] = {}
        self.own: tuple[dict[str, Any], dict[str, Any], dict[str, str]] | None = None
        self.with_colours = True
        self.focal_error: float | None = None

    @property
    def start(self) -> str:
        return self.chosen or KEYS

    def told(self) -> str:
        """Key frames in words."""
        project = self.project
        names = []
        for model in project.models:
            frames = sorted(i + 1 for i, number in project.keys if number == model.object_id)
            if frames:
                shown = ", ".join(map(str, frames[:6])) + (", …" if len(frames) > 6 else "")
                names.append(f"{model.name} in frame{'s' * (len(frames) > 1)} {shown}")
        if not names:
            return "No key frame yet."
        text = f"Key frames: {'; '.join(names)}."
        without = [m.name for m in self._followed() if m.object_id not in self._placed()]
        if without and self.start == KEYS:
            how = "lost until they are" if self.without_depth() else "so searched for"
            text += f" Not placed, {how}: {', '.join(without)}."
        return text

    def more_told(self) -> str:
        """Settings taken over, in words."""
        words = [f"{name} {value}" for name, value in self.more.items() if name != "overrides"]
        words += [f"{key} = {value}" for key, value in self.more.get("overrides", {}).items()]
        return f"As in the run it was taken from: {', '.join(words)}." if words else ""

    def unable(self) -> str:
        """Why nothing could be followed, wherever the start; "" where it could."""
        project = self.project
        if project.recording is None:
            return "Open a recording first (step 1)."
        if not project.model_paths:
            return "Open the CAD models of your objects first (step 1)."
        return ""

    def problem(self) -> str:
        """Why nothing can be followed from the chosen start; "" where it can."""
        if self.start == KEYS and not self.project.keys and not self.unable():
            other = "from a network" if self.without_depth() else "by searching"
            return f"Place the object on a frame first, or start {other}."
        if self.start == SEARCH and self.without_depth() and not self.unable():
            return (f"{NO_SEARCH[0].upper()}{NO_SEARCH[1:]}: place the object on a frame, or "
                    "start from the predictions of a network.")  # fmt: skip
        return self.unable() or (self.behind_told() if self.start == KEYS else "")

    def without_depth(self) -> str:
        """What is lost, where objects are followed by colours alone; "" where there is depth."""
        recording = self.project.recording
        if recording is None or recording.has_depth:
            return ""
        told = told_without_depth(left_out=False)
        return f"{told[0].upper()}{told[1:]}."

    def behind(self) -> PoseKey | None:
        """The first key frame whose object lies behind the camera: nothing can be followed from."""
        for (index, number), pose in sorted(self.project.keys.items()):
            model = self.project.model(number)
            if model is not None and centre_of(pose, model)[2] <= 0:
                return index, number
        return None

    def behind_told(self) -> str:
        """That in words; "" where there is none."""
        key = self.behind()
        model = self.project.model(key[1]) if key is not None else None
        if key is None or model is None:
            return ""
        return (f"On frame {key[0] + 1} {model.name} lies behind the camera: place it anew there, "
                "or forget the key frame.")  # fmt: skip

    def corrected(self) -> set[PoseKey]:
        """Key frames that the present track was not followed from."""
        track = self.project.track
        if track is None or not track.rows or self.unable():
            return set()
        return track.corrected(self.project.keys)

    def spec(self, *, again: bool = False) -> JobSpec:
        """Follow from the chosen start; `again`: from corrected key frames, the rest stands."""
        project = self.project
        recording = project.recording
        assert recording is not None
        out = free_name(self.settings.runs_folder, f"{Path(recording.root).name}-track")
        addresses = list(recording.keys)
        options: dict[str, Any] = {}
        if again or self.start == KEYS:
            rows = starts_of(project.keys)
            options["init"] = write_start(out.name, file_of(rows, addresses))
        elif self.start == SEARCH:
            options["search"] = True
        if again and project.track is not None:
            stands = project.track.again(project.keys, [scene for scene, _ in addresses])
            options["keep"] = write_start(f"{out.name}-kept", file_of(stands, addresses))
        more = dict(self.more)
        cuts = more.pop("cut", None) or (self._asked_of_track().cuts if again else ())
        if cuts:
            options["cut"] = cuts
        followed = self._followed()
        if len(followed) == 1 and len(project.models) > 1:
            options["object"] = followed[0].object_id
        if self.without_depth() and self.focal_error is not None:
            known = {"track.focal_error": self.focal_error}
            more["overrides"] = {**more.get("overrides", {}), **known}
        run = None if again or self.start in (KEYS, SEARCH) else Path(self.start)
        return JobSpec(
            "track", out, data=Path(recording.root), models=tuple(project.model_paths),
            from_run=run, options=options,
            **{**more, "overrides": {**more.get("overrides", {}), **project.unit_setting}},
        )  # fmt: skip

    def _asked_of_track(self) -> Provenance:
        """What the track in use was told; nothing where there is none."""
        track = self.project.track
        info = read_run(track.run) if track is not None else None
        return info.provenance if info is not None else Provenance()

    def network(self) -> RunInfo | None:
        """What would learn: the network that found the objects for the track; else the newest one
        of these objects, not adapted yet if there is such."""
        fitting = [
            r
            for r in self.project.networks()
            if not self.project.misfit(r.path) and r.status in ("done", "stopped")
        ]
        asked = self._asked_of_track() if fitting else Provenance()
        finder = [r for r in fitting if str(r.path) == asked.from_run]
        trained = finder or [r for r in fitting if r.kind == "train"] or fitting
        return trained[-1] if trained else None

    def learn_problem(self) -> str:
        """Why nothing can be learned; "" where it can."""
        if self.network() is None and self.own is None:
            return "Reading the settings…"
        return ""

    def learn_told(self) -> str:
        """How it would be learned."""
        network = self.network()
        _, _, told = self.own if self.own is not None else ({}, {}, {})
        lines = {COLOURS: f"{TITLES[COLOURS]}: seconds", **told}
        if network is not None and self._is_ours(network):
            lines[AFTER] = f"{lines.get(AFTER, TITLES[AFTER])} (with {network.name})"
        elif network is not None:
            preset = self._preset(new=False)
            lines[AFTER] = f"{network.name} learns on, by the preset {preset}: minutes"
        phases = enumerate(self.phases(), 1)
        head = "There is no network yet: the smallest one is trained first. " * (network is None)
        return f"{head}{TIMES}:\n" + "\n".join(f"{i}. {lines[name]}" for i, name in phases)

    def phases(self) -> tuple[str, ...]:
        """What learning would do, in the order of `quick`."""
        return phases_of_learning(colours=self.takes_colours(), network=self.network() is not None)

    def coloured(self) -> tuple[Path, ...]:
        """Models with the recording's colours that are in use, or that the network knows already.

        Empty: there are none, or none are wanted.
        """
        network = self.network()
        theirs = network.provenance.models if network is not None else ()
        for paths in (tuple(self.project.model_paths), tuple(Path(model) for model in theirs)):
            if self.with_colours and len(paths) == 1 and (paths[0] / COLOURED).exists():
                return paths
        return ()

    def takes_colours(self) -> bool:
        """Whether the recording's colours are taken before anything is learned."""
        return self.with_colours and not self.coloured()

    def _is_ours(self, network: RunInfo) -> bool:
        """Whether a network is of a stage 1 such as `stage_1`, which the long learning follows."""
        return network.kind == "train" and network.provenance.preset == STAGE_1

    def unfinished_stage_1(self) -> RunInfo | None:
        """The network that would learn, if its own training was stopped on the way."""
        network = self.network()
        if network is None or not self._is_ours(network) or network.status != "stopped":
            return None
        return network if network.can_resume else None

    def _models(self, coloured: tuple[Path, ...]) -> tuple[tuple[Path, ...], dict[str, Any]]:
        """Of a training, and the setting of their unit."""
        if coloured:
            return coloured, {"models.unit": "mm"}
        return tuple(self.project.model_paths), dict(self.project.unit_setting)

    def stage_1(self, coloured: tuple[Path, ...] = ()) -> JobSpec | None:
        """The network to begin with, as `quick` trains it; None: there is one.

        Args:
            coloured: models with the recording's colours; none: those in use.
        """
        if self.network() is not None or self.own is None:
            return None
        project = self.project
        assert project.recording is not None
        root = Path(project.recording.root)
        out = free_name(self.settings.runs_folder, f"{root.name}-train")
        models, unit = self._models(coloured)
        return JobSpec(
            "train", out, models=models, preset=STAGE_1,
            overrides={**self.own[0], **unit}, options={"camera": root},
        )  # fmt: skip

    def learning(
        self, track: Path, start: Path, *, new: bool, coloured: tuple[Path, ...] = ()
    ) -> JobSpec:
        """Stage 2 from a track's poses.

        Args:
            start: run to learn on from. new: made by `stage_1`, now or before.
            coloured: as in `stage_1`.
        """
        project = self.project
        assert project.recording is not None
        root = Path(project.recording.root)
        network = self.network()
        new = new or (network is not None and network.path == start and self._is_ours(network))
        own = self.own[1] if new and self.own is not None else {}
        models, unit = self._models(coloured)
        return JobSpec(
            "adapt", free_name(self.settings.runs_folder, f"{root.name}-adapt"), data=root,
            models=models, from_run=start, preset=self._preset(new=new),
            overrides={**own, **unit},
            options={"poses": track / POSES},
        )  # fmt: skip

    def _preset(self, *, new: bool) -> str:
        """What learns from a track; as `quick` does, a network of its own as on two cores."""
        return stage_2_of(given=not new, on_gpu=has_gpu())

    def _placed(self) -> set[int]:
        return {number for _, number in self.project.keys}

    def _followed(self) -> list[ModelCard]:
        """Models that a job would follow: all, unless one alone is placed, tracked or sought."""
        project = self.project
        wanted: set[int] = set()
        if self.start == KEYS:
            wanted = self._placed()
            if project.track is not None:
                wanted = wanted | {row.object_id for row in project.track.rows}
        elif self.start == SEARCH and project.object_id is not None:
            wanted = {project.object_id}
        one = [m for m in project.models if m.object_id in wanted]
        return one if len(one) == 1 else list(project.models)
