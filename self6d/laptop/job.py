"""The parts of `quick`, one after another: measured, planned, done."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from self6d import jobs
from self6d.config import merge, overrides
from self6d.datasets import open_dataset
from self6d.datasets.pose_track import read_pose_track
from self6d.datasets.splits import default_split
from self6d.errors import InputError
from self6d.events import Event, Listener, Note, Progress, in_words
from self6d.jobs.prepare import Changes, check_recording, telling
from self6d.jobs.track import has_depth, what_to_follow
from self6d.laptop.colours import take_colours
from self6d.laptop.order import (
    AFTER,
    BEFORE,
    COLOURS,
    PACKAGE,
    STAGE_1,
    TITLES,
    TRACK,
    phases_of_learning,
    stage_2_of,
)
from self6d.laptop.package import export_learned, with_onnx
from self6d.laptop.plan import Part, fitted, learnable, least_s, measured, too_short
from self6d.laptop.record import QuickRecord
from self6d.laptop.settings import EXPORT_S, JUDGING_S, OF_PHASE, learning_settings, own_settings
from self6d.paths import POSES
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import Paths, load_given_models
from self6d.stage2.refiner_learning import JUDGED
from self6d.tracking.rgb.told import check_search

ANY_POSE = {"adapt.track_confidence": 0.0}
FEWEST = 50  # steps of a training, however little time there is


@dataclass
class QuickJob:
    """One call of `quick`."""

    out: Path
    data: Path
    models: Paths | None
    from_run: Path | None
    split: str | None
    seed: int
    device: str
    on_gpu: bool
    colours: bool
    take_lock: bool
    listener: Listener
    control: Control
    onnx: bool | None
    record: QuickRecord = field(init=False)
    began: float = field(init=False, default_factory=time.monotonic)
    before_s: float = field(init=False, default=0.0)
    given: dict[str, Any] = field(init=False, default_factory=dict)
    settings: dict[str, Any] = field(init=False, default_factory=dict)

    @property
    def stage_2(self) -> str:
        """The preset that learns from the track."""
        return stage_2_of(given=self.from_run is not None, on_gpu=self.on_gpu)

    @property
    def parts(self) -> tuple[str, ...]:
        """What is done, in order."""
        learning = phases_of_learning(colours=self.colours, network=self.from_run is not None)
        return TRACK, *learning, PACKAGE

    def look_at_frames(self, changes: Changes) -> None:
        """Settings of all parts: training and prediction at the height of stage 1's images."""
        recording = open_dataset(self.data)
        self.split = default_split(recording, self.split, "adapt")
        given = overrides(changes or [])
        if self.from_run is None:
            own = own_settings(recording.frame(0).camera.height, given)
        else:
            own = learning_settings(self.stage_2)
        self.given = merge(overrides(own), given)
        # every part reads the track's copy of the CAD files, which is in millimetres
        self.settings = merge(self.given, overrides({"models.unit": "mm"}))

    def look_at_models(self, follow: dict[str, Any], *, begun: bool, check: bool) -> None:
        """What is wrong with the command, and then, which takes longer, with the recording."""
        recording = open_dataset(self.data)
        given = recording.models_path if self.models is None else self.models
        if given is None:
            return  # told by the track
        models = load_given_models(given, build_config(None, self.given).models.unit)
        if not begun:
            frames = recording if self.split is None else recording.split(self.split)
            named = {k: v for k, v in follow.items() if k not in ("search", "from_run")}
            what_to_follow(frames, models, **named)
            track = build_config("track", self.given, stage="track").track
            check_search(recording, search=bool(follow.get("search")), use_depth=track.use_depth)
        if check:
            check_recording(self.data, models, telling(self.listener))

    def is_done(self, name: str) -> bool:
        """Whether a part need not be done again."""
        path = self.out / name
        if name == PACKAGE:
            return (path / "model.json").exists()
        return (path / "run.json").exists() and RunFolder.open(path).status == "done"

    def run(self, follow: dict[str, Any], limit: float | None) -> bool:
        """All parts; False: stopped on the way."""
        told = self.record.told
        self.before_s = sum(told["seconds"].values())
        if not told["plan"]:
            if follow["search"]:
                self.say("no start pose is given: the objects are searched for in whole images")
            plan = self.measure(follow)
            if plan is None:
                return False
            told["minutes"] = limit
            if limit is not None:
                plan = self.fit(plan, limit)
            self.record.plan(plan)
        elif limit is not None and limit != (made_for := told.get("minutes")):
            what = "the steps were" if made_for is None else f"{made_for:g} min were"
            text = f"{what} fixed at the start: minutes changes none of them"
            self.listener(Note("warning", text))
        plan = [Part(**part) for part in told["plan"]]
        self.announce(plan)
        for name in self.parts:
            plan = self.fit_again(plan, name)
            doing = self.jobs(follow, {part.name: part for part in plan})
            if name == COLOURS:
                if not (self.out / BEFORE / "run.json").exists():
                    self.timed(name, self.take_colours)
            elif name == PACKAGE:
                if not self.is_done(name):
                    self.timed(name, self.export)
            elif self.is_done(name):
                self.say(f"{name}: done already")
                if name == TRACK and not self.is_done(AFTER):
                    self.say_how_much()
            else:
                run = self.timed(name, partial(doing[name], self.listening(name), self.control))
                if run.status == "stopped":
                    return False
                if name == TRACK:
                    self.say_how_much()
        return True

    def jobs(
        self, follow: dict[str, Any], plan: dict[str, Part]
    ) -> dict[str, Callable[[Listener, Control], RunFolder]]:
        """The parts in order, each of which begins or goes on with its run."""
        common: dict[str, Any] = {"seed": self.seed, "device": self.device, "resume": True}
        common["take_lock"] = self.take_lock

        def track(listener: Listener, control: Control) -> RunFolder:
            return jobs.track(
                self.data, self.models, self.out / TRACK, split=self.split,
                overrides=self.given, listener=listener, control=control, **follow, **common,
            )  # fmt: skip

        def stage1(listener: Listener, control: Control) -> RunFolder:
            return self.train(self.out, plan.get(BEFORE), listener, control, **common)

        def adapted(listener: Listener, control: Control) -> RunFolder:
            return self.learn(self.out, plan.get(AFTER), listener, control, **common)

        return {TRACK: track, BEFORE: stage1, AFTER: adapted}

    def train(
        self, out: Path, part: Part | None, listener: Listener, control: Control, **more: Any
    ) -> RunFolder:
        """Stage 1, in a folder, with the coloured models where there are any."""
        coloured = self.out / COLOURS
        taken = self.colours and coloured.is_dir()
        models = coloured if taken else self.out / TRACK / "models"
        return jobs.train(
            models, out / BEFORE, preset=STAGE_1, camera=self.data, check=False,
            overrides=self.settings, listener=listener, control=control, **length(part), **more,
        )  # fmt: skip

    def learn(
        self, out: Path, part: Part | None, listener: Listener, control: Control, **more: Any
    ) -> RunFolder:
        """Stage 2 from the track, in the folder of its stage 1."""
        return jobs.adapt(
            self.data, None, self.from_run or out / BEFORE, out / AFTER, preset=self.stage_2,
            split=self.split, poses=self.out / TRACK / POSES, check=False,
            overrides=merge(self.settings, overrides(more.pop("changes", {}))),
            listener=listener, control=control, **length(part), **more,
        )  # fmt: skip

    def measure(self, follow: dict[str, Any]) -> list[Part] | None:
        """The plan, from a few steps of each part; None: stopped meanwhile."""
        steps = {
            TRACK: 0,
            BEFORE: build_config(STAGE_1, self.given, stage=1).train.steps,
            AFTER: build_config(self.stage_2, self.given, stage=2).adapt.steps,
        }
        parts = [Part(name, TITLES[name], steps[name]) for name in self.parts if name in steps]
        common: dict[str, Any] = {"seed": self.seed, "device": self.device}
        with tempfile.TemporaryDirectory(prefix="self6d-") as place:
            trial = Path(place)  # of both trainings nothing is kept, nor said before its time
            starts: dict[str, tuple[Callable[[Listener, Control], RunFolder], Listener | None]] = {
                TRACK: (self.jobs(follow, {})[TRACK], self.listener),
                BEFORE: (partial(self.train, trial, None, **common), None),
                AFTER: (partial(self.learn, trial, None, changes=ANY_POSE, **common), None),
            }
            for i, part in enumerate(parts):
                self.say(f"measuring: {part.title}")
                start, heard = starts[part.name]
                try:
                    work = partial(measured, part, self.control, start, heard)
                    parts[i] = self.timed(part.name, work)
                except InputError:
                    if part.name != AFTER:
                        raise  # the first frames may hold no pose to learn from: told in its time
                if self.control.stopping:
                    return None
        return parts

    def take_colours(self) -> None:
        """The CAD files with the recording's colours."""
        if not (self.out / COLOURS).exists():
            least = build_config(self.stage_2, self.settings, stage=2).adapt.track_confidence
            track, listener = self.out / TRACK, self.listening(COLOURS)
            take_colours(self.data, track, self.out / COLOURS, least, self.device, listener)

    def say_how_much(self) -> None:
        """What there is to learn from; InputError where it is nothing."""
        path = self.out / TRACK / POSES
        least = build_config(self.stage_2, self.settings, stage=2).adapt.track_confidence
        track = build_config("track", self.given, stage="track").track
        on_depth = has_depth(open_dataset(self.data), track)
        for note in learnable(read_pose_track(path), least, path, on_depth=on_depth):
            self.listener(note)

    def export(self) -> None:
        export_learned(self.out / AFTER, self.out / PACKAGE, self.onnx, self.say)

    @property
    def spent_s(self) -> float:
        """Seconds that went for this folder so far, by earlier commands as well."""
        return self.before_s + time.monotonic() - self.began

    @property
    def ending_s(self) -> float:
        """Seconds that judging the refiner, where one learns, and the export will take, about."""
        return EXPORT_S[with_onnx(self.onnx)] + JUDGING_S * self.judged

    @property
    def judged(self) -> int:
        """Frames that the refiner is still to be judged on, at most; 0 where it takes no time."""
        learns = build_config(self.stage_2, self.settings, stage=2).adapt.refiner
        if self.on_gpu or not learns or self.is_done(AFTER):
            return 0
        recording = open_dataset(self.data)
        frames = recording if self.split is None else recording.split(self.split)
        return min(JUDGED, len(frames))

    def fit(self, plan: list[Part], minutes: float) -> list[Part]:
        """A plan that takes a time in all; what it takes at the least is said where it is more."""
        besides = self.spent_s + self.ending_s
        least = besides + least_s(plan, FEWEST)
        if least > 60 * minutes:
            text = too_short(minutes, least, self.spent_s, FEWEST)
            self.listener(Note("warning", text))
        return fitted(plan, 60 * minutes - besides, FEWEST)

    def fit_again(self, plan: list[Part], name: str) -> list[Part]:
        """The plan with the time that is left where a training begins; else as it is."""
        minutes = self.record.told.get("minutes")
        begun = (self.out / name / "run.json").exists()
        if minutes is None or name not in OF_PHASE or begun:
            return plan
        left = [part for part in plan if part.name in OF_PHASE and not self.is_done(part.name)]
        left_s = 60 * minutes - self.spent_s - self.ending_s
        fit = {part.name: part for part in fitted(left, left_s, FEWEST)}
        plan = [fit.get(part.name, part) for part in plan]
        self.record.plan(plan)
        return plan

    def announce(self, plan: list[Part]) -> None:
        for part in plan:
            line = part.title if part.step_s is None and self.is_done(part.name) else part.line()
            self.say(f"{line}{', done' if self.is_done(part.name) else ''}")
        left = [part for part in plan if not self.is_done(part.name)]
        total = [part.seconds for part in left]
        known = sum(seconds for seconds in total if seconds is not None)
        more = "" if None not in total else " and what is not measured yet"
        look = ", judging the refiner" if self.judged else ""
        self.say(f"together {in_words(known + self.ending_s)}{more}{look}, with the export")

    def listening(self, name: str) -> Listener:
        """The user's listener, to whom progress says which part it is of."""

        def listen(event: Event) -> None:
            if isinstance(event, Progress) and event.phase != "paused":
                event = replace(event, phase=name)
            self.listener(event)

        return listen

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Do a part's work, and keep how long it took."""
        began = time.monotonic()
        try:
            return work()
        finally:
            self.record.add_seconds(name, time.monotonic() - began)

    def say(self, text: str) -> None:
        self.listener(Note("info", text))


def length(part: Part | None) -> dict[str, Any]:
    """How long a training is, as its job takes it; None: as configured."""
    return {} if part is None else {"steps": part.steps, "minutes": part.minutes}
