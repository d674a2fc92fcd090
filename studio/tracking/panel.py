"""The Track tab: from which poses, what came of it, corrections, and learning from it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QWidget

from self6d.tracking.config import TrackConfig
from studio.model.project import Project
from studio.model.track import LOST, NOT_REACHED
from studio.toolkit.boxes import RealSpin
from studio.toolkit.flow import flow
from studio.toolkit.widgets import Choice, IconButton, button, column, label, row, scrolled
from studio.tracking.colours import Colours
from studio.tracking.labels import Labels
from studio.tracking.plan import KEYS, SEARCH, TrackPlan

DOUBTFUL = 0.8  # confidence below which a pose wants to be looked at; what learning leaves out
WAITS = "Taking the colours: cancel learning"
INTRO = (
    "Place the object once; it is followed through all frames, to both sides. No network, no label "
    "and no GPU is needed."
)
CORRECT = (
    "Where the strip on the pictures is not green, correct the pose under Pose: the frame becomes "
    "a key frame, and what lies between it and its neighbours is followed again."
)
LEARN = (
    "A network learns these poses from the images alone, mixed with rendered ones. It learns what "
    "the track does wrong, too: look at some frames first."
)


class TrackPanel(QWidget):
    """Says what there is to follow; the control does it.

    Signals:
        trackRequested: a job. copyRequested: its command.
        placeRequested: bring the Pose tab to the front, ready for a click.
        learnRequested: the folder of the track.
    """

    trackRequested = Signal(object)
    copyRequested = Signal(object)
    placeRequested = Signal()
    learnRequested = Signal(object)

    def __init__(self, project: Project, plan: TrackPlan, colours: Colours) -> None:
        super().__init__()
        self.project, self.plan, self.colours = project, plan, colours
        self.labels = Labels(project, plan, DOUBTFUL)
        self.state = label("", "small", wrap=True)
        self.place = button("Place the object…", self.placeRequested.emit, "",
                            "On the frame that is shown; any frame will do")  # fmt: skip
        self.start = Choice("Where to follow from")
        self.start.setToolTip("Where the poses come from that are followed")
        self.start.activated.connect(lambda i: self._on_start(self.start.itemData(i)))
        self.go = button("Track", self._on_track, "primary")
        self.copy = IconButton("terminal", "Copy as command", self._on_copy)
        self.problem = label("", "small", wrap=True)
        self.without_depth = label("", "small", wrap=True)
        self.focal_error = RealSpin()
        self.focal_error.setAccessibleName("How far the focal lengths may be off")
        self.focal_error.setRange(0.0, 50.0)
        self.focal_error.setSuffix(" %")
        self.focal_error.setValue(100 * TrackConfig().focal_error)
        self.focal_error.setSingleStep(0.5)
        self.focal_error.setToolTip(
            "How far its focal lengths, or the size of the CAD, may be off: poses are sure of "
            "their distance only as far as that is known"
        )
        self.focal_error.valueChanged.connect(self._on_focal_error)
        self.camera_known = label("Camera known to", "muted")
        self.result = label("", wrap=True)
        self.back = IconButton("chevron-left", "The doubtful frame before", lambda: self.step(-1))
        self.on = IconButton("chevron-right", "The next doubtful frame", lambda: self.step(1))
        self.doubt = label("", "small")
        self.again = button("Track again", self._on_again, "",
                            "Follow corrected frames again; the rest stands")  # fmt: skip
        self.forget = button("Forget key frame", self._on_forget, "",
                             "This frame is followed like any other")  # fmt: skip
        self.learn_note = label(LEARN, "small", wrap=True)
        self.learn_way = label("", "small", wrap=True)
        self.learn = button("Learn from these poses", self._on_learn, "primary")
        self.with_colours = QCheckBox("With the recording's colours")
        self.with_colours.setToolTip("They are put on a copy of the models before anything is "
                                     "trained; without it the models keep their own")  # fmt: skip
        self.with_colours.setChecked(plan.with_colours)
        self.with_colours.toggled.connect(self._on_with_colours)
        colours.changed.connect(self.refresh)
        self.more = label("", "small", wrap=True)
        self.drop_more = button("Leave them out", self._on_drop_more)
        content = QWidget()
        starting, begin = row(self.go, self.copy), row(label("Start", "muted"), self.start)
        starting.setStretch(0, 1)
        begin.setStretch(1, 1)
        content.setLayout(column(
            label(INTRO, "muted", wrap=True), self.state, self.place,
            begin, self.more, self.drop_more, starting, self.problem, self.without_depth,
            row(self.camera_known, self.focal_error, 1),
            label("WHAT IT FOUND", "section"), self.result, row(self.back, self.on, self.doubt, 1),
            label(CORRECT, "small", wrap=True), flow(self.again, self.forget),
            label("LEARN", "section"), self.learn_note, self.with_colours,
            self.learn_way, self.learn, self.colours, self.labels, 1,
            margin=12, gap=8,
        ))  # fmt: skip
        self.setLayout(column(scrolled(content, whole=True)))
        for signal in (
            project.recordingChanged, project.modelsChanged, project.objectChanged,
            project.frameChanged, project.trackChanged, project.runsChanged,
        ):  # fmt: skip
            signal.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show what the project says."""
        project, plan, track = self.project, self.plan, self.project.track
        self.state.setText(plan.told())
        self._fill_starts()
        problem = plan.problem()
        self.more.setText(plan.more_told())
        self.more.setVisible(bool(plan.more))
        self.drop_more.setVisible(bool(plan.more))
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.without_depth.setText(plan.without_depth())
        for part in (self.without_depth, self.camera_known, self.focal_error):
            part.setVisible(bool(plan.without_depth()))
        for widget in (self.go, self.copy):
            widget.setEnabled(not problem)
        self.place.setEnabled(project.recording is not None and project.object_id is not None)
        self.result.setText(self._told())
        doubtful = self.doubtful()
        self.doubt.setText(f"{len(doubtful)} doubtful or lost" if doubtful else "")
        for step in (self.back, self.on):
            step.setEnabled(bool(doubtful))
        corrected = plan.corrected()
        here = (project.frame_index, project.object_id)
        text = "Track again from here" if corrected == {here} else "Track again"
        self.again.setText(text)
        self.again.setEnabled(bool(corrected) and plan.behind() is None)
        self.forget.setEnabled(here in project.keys)
        done = track is not None and bool(track.rows)
        sure = track.sure(DOUBTFUL) if track is not None else 0
        waits = self.colours.awaited
        self.learn.setText(WAITS if waits else "Learn from these poses")
        self.learn.setEnabled(waits or (bool(sure) and not plan.learn_problem()))
        self.learn_way.setText(self._learn_told() if done else "Track the recording first.")

    def doubtful(self) -> list[int]:
        """Frames of the selected object that want to be looked at."""
        track = self.project.track
        return [] if track is None else track.doubtful(self.project.object_id, DOUBTFUL)

    def step(self, by: int) -> None:
        """Go to the next (or previous) doubtful frame, round the ends."""
        frames, at = self.doubtful(), self.project.frame_index
        if by > 0:
            frames = [*(i for i in frames if i > at), *frames]
        else:
            frames = [*(i for i in frames[::-1] if i < at), *frames[::-1]]
        if frames:
            self.project.select_frame(frames[0])

    def _told(self) -> str:
        track, model = self.project.track, self.project.model(self.project.object_id)
        if track is None or model is None:
            return "Nothing yet."
        counts = track.counts(model.object_id)
        if not counts:
            return f"{track.run.name} has no pose of {model.name}."
        last = (LOST, NOT_REACHED)
        order = sorted(counts, key=lambda state: state in last)
        words = ", ".join(f"{counts[state]} {state}" for state in order)
        text = f"{model.name}, by {track.run.name}: {words}."
        if track.stopped:
            text += " It was stopped. Resume it on the left."
        return text

    def _learn_told(self) -> str:
        track = self.project.track
        assert track is not None
        poses = sum(row.pose is not None for row in track.rows)
        sure = f"{track.sure(DOUBTFUL)} of {poses} poses are sure enough. "
        return sure + (self.plan.learn_problem() or self.plan.learn_told())

    def _fill_starts(self) -> None:
        entries = [("the placed poses", KEYS), ("searching whole images", SEARCH)]
        entries += [
            (f"predictions of {run.name}", str(run.path))
            for run in reversed(self.project.networks())
            if not self.project.misfit(run.path)
        ]
        if [self.start.itemData(i) for i in range(self.start.count())] != [e[1] for e in entries]:
            self.start.clear()
            for text, data in entries:
                self.start.addItem(text, data)
        self.start.setCurrentIndex(max(self.start.findData(self.plan.start), 0))

    def _on_start(self, start: str) -> None:
        self.plan.chosen = start
        self.refresh()

    def _on_focal_error(self, percent: float) -> None:
        self.plan.focal_error = percent / 100

    def _on_with_colours(self, on: bool) -> None:
        self.plan.with_colours = on
        self.refresh()

    def _on_drop_more(self) -> None:
        self.plan.more = {}
        self.refresh()

    def _on_track(self) -> None:
        self.trackRequested.emit(self.plan.spec())

    def _on_copy(self) -> None:
        self.copyRequested.emit(self.plan.spec())

    def _on_again(self) -> None:
        self.trackRequested.emit(self.plan.spec(again=True))

    def _on_forget(self) -> None:
        number = self.project.object_id
        if number is not None:
            self.project.forget_key((self.project.frame_index, number))

    def _on_learn(self) -> None:
        track = self.project.track
        if self.colours.awaited:
            self.colours.stop()
        elif track is not None:
            self.learnRequested.emit(Path(track.run))
