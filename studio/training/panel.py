"""What a training run is made of: the settings of stage 1 or stage 2, and the Run button."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QApplication, QCheckBox, QWidget

from self6d.config import USUAL_ADAPT, Stage, preset_names
from self6d.errors import Self6DError
from self6d.losses.terms import TERMS
from studio.engine import Engine
from studio.engine.types import FormField
from studio.jobs import JobSpec
from studio.jobs.run_info import free_name
from studio.model import times
from studio.model.machine import has_gpu
from studio.model.project import Project
from studio.model.settings import Settings
from studio.toolkit.boxes import spin
from studio.toolkit.widgets import (
    Choice,
    IconButton,
    button,
    captioned,
    column,
    label,
    row,
    scrolled,
)
from studio.training.choices import fill_cameras, fill_runs, fill_splits
from studio.training.form import Editor, SettingsForm
from studio.training.from_track import FromTrack
from studio.training.presets import PresetBox
from studio.training.settings import (
    OF_RECORDING,
    differs,
    load_settings,
    settings_of,
)
from studio.training.steering import Steering, weights_note
from studio.training.weights import LossWeights

STAGE: dict[str, Stage] = {"train": 1, "adapt": 2}
USUAL_PRESET = {True: {"train": "standard", "adapt": USUAL_ADAPT},  # with a GPU, without
                False: {"train": "tiny", "adapt": "self6d-plus-tiny"}}  # fmt: skip
TAKEN = (
    "These are the running job's settings. What was changed before, here or elsewhere, "
    "cannot be undone any more."
)
RUN_TEXT = {"train": "Train on synthetic images", "adapt": "Run self-supervision"}
START_TIP = {
    "train": "A trained run of the same objects to go on from: its network's form stays",
    "adapt": "The trained run to adapt",
}
LENGTHS = (
    FormField("steps", "int", True, None, "How many steps it takes", 1, None, ()),
    FormField("minutes", "float", True, None, "Its steps end by then, the learning rate at zero; "
              "what is prepared before them comes on top",
              0.1, None, ()),
)  # fmt: skip
INTRO = {
    "train": "Stage 1 learns from rendered images of the CAD models alone.",
    "adapt": "Stage 2 adapts a trained run to this recording, without labels.",
}


class RunPanel(QWidget):
    """Collects a JobSpec; every change goes through the project's undo stack."""

    runRequested = Signal(object)
    copyRequested = Signal(object)
    liveWeight = Signal(str, float)
    problemChanged = Signal()  # another reason, or none, why it cannot run

    def __init__(self, kind: str, project: Project, settings: Settings, engine: Engine) -> None:
        super().__init__()
        self.kind, self.project, self.settings, self.engine = kind, project, settings, engine
        self._fields: list[FormField] = []
        self._described = self._fields_of = ""  # presets: asked for, and whose fields are there
        self._job: Path | None = None  # folder of the running job that weights steer
        self.steering = Steering(self)
        self.steering.liveWeight.connect(self.liveWeight)

        self.preset = PresetBox([n for n in preset_names(STAGE[kind]) if n not in times.OF_TRACKS])
        self.preset.picked.connect(lambda name: self._edit("preset", name, "Change preset"))
        self.start = Choice("Run to start from")
        self.start.setToolTip(START_TIP[kind])
        self.start.activated.connect(
            lambda i: self._edit("from", self.start.itemData(i), "Change start run")
        )
        self.split = Choice("Frames")
        self.split.setToolTip("Which frames of the recording may be used")
        self.split.activated.connect(
            lambda i: self._edit("split", self.split.itemData(i), "Change split")
        )
        self._lengths = {field.key: Editor(field, "as in the preset") for field in LENGTHS}
        for name, length in self._lengths.items():
            length.edited.connect(lambda v, name=name: self._edit(name, v, f"Change {name}"))
            length.judged.connect(self.refresh)
        self.steps, self.minutes = (length.box for length in self._lengths.values())
        self.seed = spin("Seed", 0, 2**31 - 1, 0)
        self.seed.editingFinished.connect(
            lambda: self._edit("seed", self.seed.value() or None, "Change seed")
        )
        self.device = Choice("Device")
        self.device.addItems(["auto", "cpu", "cuda"])
        self.device.textActivated.connect(
            lambda text: self._edit("device", None if text == "auto" else text, "Change device")
        )
        self.camera_like = Choice("Camera")
        self.camera_like.setToolTip("Intrinsics of the rendered images")
        self.camera_like.activated.connect(
            lambda i: self._edit("camera", self.camera_like.itemData(i), "Change camera")
        )
        self.share = spin("Share of the frames", 1, 100, 100, " %")
        self.share.setToolTip("Share of these frames to use, evenly spaced")
        self.share.editingFinished.connect(self._on_share)
        self.no_check = QCheckBox("start anyhow")
        self.no_check.setToolTip("Without it a run stops where the doctor finds an error")
        self.no_check.clicked.connect(
            lambda on: self._edit("no-check", on or None, "Change the doctor's say")
        )
        frames = (("Frames", self.split), ("Share of them", self.share))
        top = captioned(
            ("Start from", self.start), *(frames if kind == "adapt" else ()),
            ("Preset", self.preset), self.preset.told,
            *((("Camera", self.camera_like),) if kind == "train" else ()),
            *((name.capitalize(), one) for name, one in self._lengths.items()),
            ("Seed", self.seed), ("Device", self.device), ("Doctor", self.no_check),
        )  # fmt: skip

        self.from_track = FromTrack()
        self.from_track.dropped.connect(lambda: self._edit("poses", None, "Leave poses out"))
        self.taken = label(TAKEN, "small", wrap=True)
        self.taken.hide()
        self.weights = LossWeights()
        self.weights.edited.connect(self._on_weight)
        self.weights_note = label("", "small", wrap=True)
        self.form = SettingsForm(skip=tuple(f"loss.{t}" for t in TERMS))
        self.form.edited.connect(self._on_setting)
        self.form.judged.connect(self.refresh)

        content = QWidget()
        parts: list = [label(INTRO[kind], "muted", wrap=True), self.taken, self.from_track, top]
        if kind == "adapt":
            parts += [label("LOSS WEIGHTS", "section"), self.weights, self.weights_note]
        parts += [label("ALL SETTINGS", "section"), self.form, 1]
        content.setLayout(column(*parts, margin=12, gap=12))
        self.run_button = button(RUN_TEXT[kind], self._on_run, "primary")
        self.copy_button = IconButton("terminal", "Copy as command", self._on_copy)
        self.problem = label("", "small", wrap=True)
        starting = row(self.run_button, self.copy_button)
        starting.setStretch(0, 1)
        foot = column(self.problem, starting, margin=12)
        outer = column(scrolled(content, whole=True), foot, gap=0)
        outer.setStretch(0, 1)
        self.setLayout(outer)
        for part in (self.split, self.share, self.camera_like, self.weights, self.weights_note):
            if part.parent() is None:  # of the other stage alone; ends with this panel
                part.setParent(self)
                part.hide()
        for signal in (project.recordingChanged, project.modelsChanged, project.runsChanged,
                       project.optionsChanged):  # fmt: skip
            signal.connect(self.refresh)
        self.refresh()

    def option(self, name: str, default: Any = None) -> Any:
        return self.project.options.get(f"{self.kind}:{name}", default)

    def _gpu(self) -> bool:
        """Whether the run would work on a GPU."""
        return has_gpu() and self.option("device") != "cpu"

    def _preset(self) -> str:
        return str(self.option("preset", USUAL_PRESET[self._gpu()][self.kind]))

    def _time(self, preset: str) -> tuple[str, str]:
        """How long it would take with a preset."""
        own = self.overrides() if preset == self._preset() else {}
        try:
            return times.told(self.kind, preset, self.option("steps"), self.option("minutes"), own,
                              self.project.runs, gpu=self._gpu())  # fmt: skip
        except Self6DError as error:
            return "", error.what

    def overrides(self) -> dict[str, Any]:
        """Settings that differ from the preset, by dotted key."""
        prefix = f"{self.kind}:set:"
        return {k.removeprefix(prefix): v for k, v in self.project.options.items()
                if k.startswith(prefix)}  # fmt: skip

    def describe(self) -> None:
        """Ask for the form's fields if the preset changed; needs torch, so it is asked for late."""
        preset = self._preset()
        if preset == self._described:
            return
        self._described = preset
        self.engine.request("describe", self.kind, preset, key=f"describe {self.kind}",
                            done=lambda fields: self._on_fields(preset, fields))  # fmt: skip

    def spec(self) -> JobSpec | None:
        """The run as it stands; None if something is missing (see `problem`)."""
        project = self.project
        problem = self._missing()
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        if problem:
            return None
        stem = project.recording_path.name if project.recording_path else "cad"
        out = free_name(self.settings.runs_folder, f"{stem}-{self.kind}")
        common: dict[str, Any] = {
            "kind": self.kind, "out": out, "models": tuple(project.model_paths),
            "preset": self._preset(), "seed": self.option("seed"),
            "device": self.option("device"), "steps": self.option("steps"),
            "minutes": self.option("minutes"),
            "overrides": {**self.overrides(), **project.unit_setting},
        }  # fmt: skip
        if self.kind == "adapt":
            start = self.option("from") or self._default_start()
            return JobSpec(
                data=project.recording_path, from_run=Path(start), split=self.option("split"),
                options=self._given("share", "no-check", "poses"), **common,
            )  # fmt: skip
        chosen = self.option("camera", OF_RECORDING)
        camera = project.recording_path if chosen == OF_RECORDING else chosen or None
        options = {"camera": camera} if camera is not None else {}
        chosen = self.option("from")
        return JobSpec(
            from_run=Path(chosen) if chosen else None,
            options={**options, **self._given("no-check", "poses")}, **common,
        )  # fmt: skip

    def load(self, spec: JobSpec, text: str = "Duplicate run") -> str:
        """Take over the settings of another run, to change and run again.

        Returns:
            what the new run will not share with it, because the project holds another; mostly "".
        """
        load_settings(self.project, self.kind, spec, text)
        return differs(self.project, spec)

    def refresh(self) -> None:
        """Show what the project says."""
        self.preset.show_times(self._preset(), self._time)
        self.seed.setValue(int(self.option("seed") or 0))
        for name, length in self._lengths.items():
            if not length.typing:
                length.set_value(self.option(name))
        device = str(self.option("device") or "auto")
        if self.device.findText(device) < 0:
            self.device.addItem(device)
        self.device.setCurrentText(device)
        self.no_check.setChecked(bool(self.option("no-check")))
        self.share.setValue(max(round(100 * float(self.option("share") or 1)), 1))
        self.from_track.show_poses(self.option("poses"))
        fill_cameras(self.camera_like, self.option("camera", OF_RECORDING))
        chosen = self.option("from")
        if self.kind == "adapt":
            fill_runs(self.start, self.project, chosen or self._default_start())
        else:
            fill_runs(self.start, self.project, chosen or "", anew=True)
        fill_splits(self.split, self.project.recording, self.option("split"))
        overrides = self.overrides()
        self.form.show_values(overrides)
        self._show_weights(overrides)
        before = self.problem.text()
        self.run_button.setEnabled(self.spec() is not None)
        self.copy_button.setEnabled(self.run_button.isEnabled())
        if self._fields:
            self.describe()
        if self.problem.text() != before:
            self.problemChanged.emit()

    def set_live(self, job: JobSpec | None, *, queued: bool = False) -> None:
        """The running job that weights steer now, and whether another run would have to wait.

        The panel takes over the settings of a job that it did not start itself.
        """
        self.run_button.setText("Add to the queue" if queued else RUN_TEXT[self.kind])
        folder = job.out if job is not None else None
        if folder == self._job:
            return
        self._job = folder
        self.steering.begin("")
        self.taken.hide()
        if job is not None:
            own, changed = self.spec(), self.project.undo.canUndo()
            if own is None or settings_of(own) != settings_of(job):
                self.load(job, "Show the running job's settings")
                self._forget(changed)
            self.steering.begin(self._preset())
        self._show_weights(self.overrides())

    def show_live(self, folder: Path, values: dict[str, float]) -> None:
        """Weights that were changed while a job ran, before it was followed here."""
        if folder != self._job or self._preset() != self.steering.preset:
            return
        self.steering.begin("")
        changed = self.project.undo.canUndo()
        known = {f.key: f.value for f in self._fields} if self._fields_of == self._preset() else {}
        for key, value in values.items():
            if key.startswith("loss."):
                stored = None if value == known.get(key) else value
                if stored != self.option(f"set:{key}"):
                    self._edit(f"set:{key}", stored, "Show the running job's weights")
                    self._forget(changed)
        self.steering.begin(self._preset())
        self._show_weights(self.overrides())

    def _forget(self, changed: bool) -> None:
        """Undone, what was there before would reach the job; says so if there was something."""
        if changed:
            self.taken.show()
        self.project.undo.clear()

    def _missing(self) -> str:
        typed = [*(length.problem for length in self._lengths.values()), self.form.problem]
        if any(typed):
            return next(filter(None, typed))
        if not self.project.model_paths:
            return "Open the CAD models of your objects first (step 1)."
        if self.kind == "adapt":
            if self.project.recording is None:
                return "Open a recording first (step 1)."
            if not (self.option("from") or self._default_start()):
                return "Train stage 1 first (step 2), or open a run that was trained before."
        chosen = self.option("from") or (self._default_start() if self.kind == "adapt" else "")
        whole = self.kind == "train"
        why_not = self.project.misfit(Path(chosen), all_of_them=whole) if chosen else ""
        return f"{Path(chosen).name} is a network of other objects: {why_not}." if why_not else ""

    def _default_start(self) -> str:
        networks = [r for r in self.project.starts() if not self.project.misfit(r.path)]
        trained = [r for r in networks if r.kind == "train"] or networks
        return str(trained[-1].path) if trained else ""

    def _show_weights(self, overrides: dict[str, Any]) -> None:
        known = {f.key: f.value for f in self._fields}
        weights = {t: overrides.get(f"loss.{t}", known.get(f"loss.{t}")) for t in TERMS}
        shown = {t: float(w) for t, w in weights.items() if w is not None}
        self.weights.set_weights(shown)
        there = self._fields_of == self._preset()
        if there:  # else they are of the preset before
            self.steering.show(shown, self._preset())
        values, poses = {**known, **overrides} if there else {}, self.option("poses")
        note = weights_note(values, self._preset(), self.steering.preset, poses=bool(poses))
        self.weights_note.setText(note)
        self.weights_note.setVisible(bool(note))

    def _on_fields(self, preset: str, fields: list[FormField]) -> None:
        self._fields, self._fields_of = fields, preset
        self.form.set_fields(fields, self.overrides())
        self._show_weights(self.overrides())
        self.describe()  # another preset may have been chosen before any fields were there

    def _edit(self, name: str, value: Any, text: str) -> None:
        self.project.edit_option(f"{self.kind}:{name}", value, text)

    def _given(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := self.option(name)) is not None}

    def _on_share(self) -> None:
        percent = self.share.value()
        if percent != round(100 * float(self.option("share") or 1)):
            self._edit("share", None if percent == 100 else percent / 100, "Change share")

    def _on_setting(self, key: str, value: Any) -> None:
        preset = next(f.value for f in self._fields if f.key == key)
        self._edit(f"set:{key}", None if value == preset else value, f"Change {key}")

    def _on_weight(self, term: str, value: float) -> None:
        self._on_setting(f"loss.{term}", value)

    def _on_run(self) -> None:
        self._use(self.runRequested.emit)

    def _on_copy(self) -> None:
        self._use(self.copyRequested.emit)

    def _use(self, use: Callable[[JobSpec], object]) -> None:
        """The run as it stands; what is being typed counts, even if its box was not left."""
        typing = QApplication.focusWidget()
        if typing is not None and self.isAncestorOf(typing):
            typing.clearFocus()
            typing.setFocus()
        spec = self.spec()
        if spec is not None:
            use(spec)
