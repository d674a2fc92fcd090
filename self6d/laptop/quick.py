"""`quick`: track, colours, a short stage 1, learning from the track, export; one folder."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from self6d import jobs
from self6d.config import merge, overrides
from self6d.datasets import open_dataset
from self6d.datasets.pose_track import read_pose_track
from self6d.datasets.splits import default_split
from self6d.errors import InputError, Self6DError, from_os_error
from self6d.events import Event, Listener, Note, Progress, in_words
from self6d.files import OR_RESUME, check_free, is_free, noted_once, read_json
from self6d.geometry import Pose
from self6d.jobs.kept import refuse
from self6d.jobs.prepare import Changes, check_recording, telling
from self6d.jobs.track import check_same_track, what_to_follow
from self6d.laptop.colours import take_colours
from self6d.laptop.order import AFTER, BEFORE, COLOURS, ORDER, PACKAGE, TITLES, TRACK
from self6d.laptop.package import export_learned
from self6d.laptop.plan import Part, fitted, learnable, measured
from self6d.laptop.settings import STAGE_1, STAGE_2, own_settings
from self6d.run_config import build_config
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import Paths, load_given_models
from self6d.runs.provenance import absolute
from self6d.storage import atomic_write

FILE = "quick.json"
ANY_POSE = {"adapt.track_confidence": 0.0}
FEWEST = 50  # steps of a training, however little time there is
OF_COMMAND = {
    "data": "recording", "split": "--split", "object": "--object", "seed": "--seed",
    "cuts": "--cut", "colours": "--colours",
}  # fmt: skip


@dataclass(frozen=True)
class QuickRun:
    """What `quick` made.

    Attributes:
        path: the folder; in it the runs track, stage1 and adapted, the models with the recording's
            colours, and the exported package.
        status: "done" or "stopped".
        seconds: what each part took, by name, measuring included, in their order.
    """

    path: Path
    status: str
    seconds: dict[str, float]

    @property
    def package(self) -> Path:
        """The exported network, which needs RGB and K alone."""
        return self.path / PACKAGE


@noted_once()
def quick(
    data: str | Path,
    models: Paths | None,
    out: str | Path,
    *,
    init: str | Path | Pose | None = None,
    search: bool = False,
    object_id: int | None = None,
    frame: int | None = None,
    scene: int | None = None,
    cuts: Sequence[int] = (),
    split: str | None = None,
    minutes: float | None = None,
    overrides: Changes = None,
    seed: int = 0,
    device: str = "auto",
    colours: bool = True,
    onnx: bool | None = None,
    resume: bool = False,
    take_lock: bool = False,
    check: bool = True,
    listener: Listener | None = None,
    control: Control | None = None,
) -> QuickRun:
    """From CAD files and a recording with depth to an exported network that needs RGB alone.

    Each part has a folder of its own in `out`: `track` follows the objects, `colours` are the CAD
    files with what the frames show of them, `stage1` trains the smallest network on synthetic
    images, `adapted` learns from the track, `package` is the export. At the start a few steps of
    each are made and timed, and notes say how long it will take. Stopped, it goes on with `resume`;
    a part that is done stays.

    Args:
        data: the recording, with depth. models: CAD files; None: the recording's own.
        out: folder to make; with `resume`, the one to go on with (made if it is not there).
        init: rough start pose, see `jobs.track`. search: look for the objects instead; also where
            neither is given. frame, scene: of a single start pose.
        cuts: image numbers before which things were moved, see `jobs.track`.
        object_id: this object alone. split: named split; None: "adapt" where there is one.
        minutes: steps are made fewer or more so that all of it takes about as long; None: `STEPS`,
            about 38 minutes on two idle cores.
        overrides: {"train.steps": 100}, for every part.
        colours: train with the recording's colours on the CAD files, see `recolour`; else with
            their own.
        onnx: also write ONNX; None: where it is installed.
        check: stop if the doctor's fast checks find an error in the recording.

    Returns:
        folder, status and times; a stopped run has no package yet.

    Raises:
        InputError: `out` is not empty, or belongs to another recording; as `track`, `train`,
            `adapt` and `export`. Self6DError: as they do.
    """
    if init is not None and search:
        raise InputError("two starts are given", remedy="Give --init or --search.")
    asked: dict[str, Any] = {
        "data": absolute(data), "split": split, "object": object_id, "seed": seed,
        "cuts": sorted(set(cuts)), "colours": colours,
    }  # fmt: skip
    job = _Quick(
        Path(out), Path(data), models, split, seed, device, colours, take_lock,
        listener or (lambda event: None), control or Control(),
    )  # fmt: skip
    job.begin(asked, resume)
    try:
        begun = (job.out / TRACK / "run.json").exists()
        if begun:
            of = {"frame": frame, "scene": scene}
            run = RunFolder.open(job.out / TRACK)
            check_same_track(run, open_dataset(data), of, init, None, search=search)
        job.look_at_frames(overrides)
        follow = {
            "init": init, "search": init is None and not begun, "object_id": object_id,
            "frame": frame, "scene": scene, "cuts": cuts,
        }  # fmt: skip
        if not begun or (check and not job.is_done(TRACK)):
            job.look_at_models(follow, begun=begun, check=check)
        status = "done" if job.run(follow, minutes, onnx) else "stopped"
    except Self6DError:
        job.withdraw()
        raise
    took = job.told["seconds"]
    return QuickRun(job.out, status, {name: took[name] for name in ORDER if name in took})


@dataclass
class _Quick:
    """One call of `quick`."""

    out: Path
    data: Path
    models: Paths | None
    split: str | None
    seed: int
    device: str
    colours: bool
    take_lock: bool
    listener: Listener
    control: Control
    told: dict[str, Any] = field(init=False, default_factory=dict)
    given: dict[str, Any] = field(init=False, default_factory=dict)
    settings: dict[str, Any] = field(init=False, default_factory=dict)

    def begin(self, asked: dict[str, Any], resume: bool) -> None:
        """Make the folder, or take up what is in it."""
        path = self.out / FILE
        try:
            if not resume:
                check_free(self.out, OR_RESUME)
            if not is_free(self.out):
                self.told = read_json(path, "quick's own file", dict)
                begun = {"cuts": [], "colours": asked["colours"]} | self.told.get("asked", {})
                for name, value in asked.items():
                    if begun.get(name) != value:
                        refuse(self.out, OF_COMMAND[name], begun.get(name))
                return
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os_error(error, self.out) from error
        self.told = {"quick": 1, "asked": asked, "plan": [], "seconds": {}}
        self.keep()

    def keep(self) -> None:
        """Write what is known so far."""
        text = json.dumps(self.told, indent=1) + "\n"
        try:
            atomic_write(self.out / FILE, text.encode())
        except OSError as error:
            raise from_os_error(error, self.out) from error

    def withdraw(self) -> None:
        """Leave the folder free for the corrected command where no part was begun."""
        if [path.name for path in self.out.iterdir()] == [FILE]:
            (self.out / FILE).unlink()

    def look_at_frames(self, changes: Changes) -> None:
        """Settings of all parts: training and prediction at the height of stage 1's images."""
        recording = open_dataset(self.data)
        self.split = default_split(recording, self.split, "adapt")
        given = overrides(changes or [])
        own = own_settings(recording.frame(0).camera.height, given)
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
            named = {key: value for key, value in follow.items() if key != "search"}
            what_to_follow(frames, models, **named)
        if check:
            check_recording(self.data, models, telling(self.listener))

    def is_done(self, name: str) -> bool:
        """Whether a part need not be done again."""
        path = self.out / name
        if name == PACKAGE:
            return (path / "model.json").exists()
        return (path / "run.json").exists() and RunFolder.open(path).status == "done"

    def run(self, follow: dict[str, Any], limit: float | None, onnx: bool | None) -> bool:
        """All parts; False: stopped on the way."""
        if not self.told["plan"]:
            if follow["search"]:
                self.say("no start pose is given: the objects are searched for in whole images")
            plan = self.measure(follow)
            if plan is None:
                return False
            if limit is not None:
                plan = fitted(plan, 60 * limit, FEWEST)
            self.told["plan"] = [part.to_dict() for part in plan]
            self.keep()
        elif limit is not None:
            self.listener(
                Note("warning", "the steps were fixed at the start: minutes changes none")
            )
        plan = [Part(**part) for part in self.told["plan"]]
        self.announce(plan)
        steps = {part.name: part.steps for part in plan}
        doing = self.jobs(follow, steps)
        for name in ORDER:
            if name == COLOURS:
                if self.colours and not (self.out / BEFORE / "run.json").exists():
                    self.timed(name, self.take_colours)
            elif name == PACKAGE:
                if not self.is_done(name):
                    self.timed(name, partial(self.export, onnx))
            elif self.is_done(name):
                self.say(f"{name}: done already")
            else:
                run = self.timed(name, partial(doing[name], self.listening(name), self.control))
                if run.status == "stopped":
                    return False
                if name == TRACK:
                    self.say_how_much()
        return True

    def jobs(
        self, follow: dict[str, Any], steps: dict[str, int]
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
            return self.train(self.out, steps.get(BEFORE), listener, control, **common)

        def adapted(listener: Listener, control: Control) -> RunFolder:
            return self.learn(self.out, steps.get(AFTER), listener, control, **common)

        return {TRACK: track, BEFORE: stage1, AFTER: adapted}

    def train(
        self, out: Path, steps: int | None, listener: Listener, control: Control, **more: Any
    ) -> RunFolder:
        """Stage 1, in a folder, with the coloured models where there are any."""
        coloured = self.out / COLOURS
        taken = self.colours and coloured.is_dir()
        models = coloured if taken else self.out / TRACK / "models"
        return jobs.train(
            models, out / BEFORE, preset=STAGE_1, camera=self.data, steps=steps, check=False,
            overrides=self.settings, listener=listener, control=control, **more,
        )  # fmt: skip

    def learn(
        self, out: Path, steps: int | None, listener: Listener, control: Control, **more: Any
    ) -> RunFolder:
        """Stage 2 from the track, in the folder of its stage 1."""
        return jobs.adapt(
            self.data, None, out / BEFORE, out / AFTER, preset=STAGE_2, split=self.split,
            steps=steps, poses=self.out / TRACK / "poses.json", check=False,
            overrides=merge(self.settings, overrides(more.pop("changes", {}))),
            listener=listener, control=control, **more,
        )  # fmt: skip

    def measure(self, follow: dict[str, Any]) -> list[Part] | None:
        """The plan, from a few steps of each part; None: stopped meanwhile."""
        first = build_config(STAGE_1, self.given, stage=1).train.steps
        last = build_config(STAGE_2, self.given, stage=2).adapt.steps
        parts = [
            Part(TRACK, TITLES[TRACK], 0),
            Part(BEFORE, TITLES[BEFORE], first),
            Part(AFTER, TITLES[AFTER], last),
        ]
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
                    parts[i] = self.timed(
                        part.name, partial(measured, part, self.control, start, heard)
                    )
                except InputError:
                    if part.name != AFTER:
                        raise  # the first frames may hold no pose to learn from: told in its time
                if self.control.stopping:
                    return None
        return parts

    def take_colours(self) -> None:
        """The CAD files with the recording's colours."""
        if not (self.out / COLOURS).exists():
            least = build_config(STAGE_2, self.settings, stage=2).adapt.track_confidence
            track, listener = self.out / TRACK, self.listening(COLOURS)
            take_colours(self.data, track, self.out / COLOURS, least, self.device, listener)

    def say_how_much(self) -> None:
        """What there is to learn from; InputError where it is nothing."""
        path = self.out / TRACK / "poses.json"
        least = build_config(STAGE_2, self.settings, stage=2).adapt.track_confidence
        for note in learnable(read_pose_track(path), least, path):
            self.listener(note)

    def export(self, onnx: bool | None) -> None:
        export_learned(self.out / AFTER, self.out / PACKAGE, onnx, self.say)

    def announce(self, plan: list[Part]) -> None:
        for part in plan:
            line = part.title if part.step_s is None and self.is_done(part.name) else part.line()
            self.say(f"{line}{', done' if self.is_done(part.name) else ''}")
        left = [part for part in plan if not self.is_done(part.name)]
        total = [part.seconds for part in left]
        known = sum(seconds for seconds in total if seconds is not None)
        more = "" if None not in total else " and what is not measured yet"
        self.say(f"together {in_words(known)}{more}, then the export")

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
            seconds = self.told["seconds"]
            seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - began, 1)
            self.keep()

    def say(self, text: str) -> None:
        self.listener(Note("info", text))
