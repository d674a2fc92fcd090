"""The tree on the left: objects, recording, runs and jobs."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QAction, QBrush, QFont
from PySide6.QtWidgets import QHeaderView, QMenu, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from studio.jobs.queue import JobQueue
from studio.jobs.run_info import BRIEF, NOTHING_RIGHT
from studio.model.project import Project
from studio.panels.job_bar import STATE_WORDS
from studio.toolkit.theme import icon, theme
from studio.toolkit.widgets import button

ROLE = Qt.ItemDataRole.UserRole
BESIDE_RESUME = 12  # letters of a name that has a button beside it
STATUS_ICONS = {
    "done": ("circle-check", "good"), "running": ("circle-dot", "accent"),
    "paused": ("pause", "warn"), "stopped": ("square", "muted"),
    "failed": ("circle-x", "bad"), "interrupted": ("circle-alert", "warn"),
    "waiting": ("circle-dashed", "muted"), "starting": ("circle-dot", "accent"),
    "stopping": ("circle-dot", "warn"),
}  # fmt: skip


class ProjectTree(QWidget):
    """Selecting an item selects it in the project; a run's menu holds what can be done with it."""

    unitChosen = Signal(str)  # of the CAD files
    runAction = Signal(str, object)  # "open", "resume", "duplicate", "copy", "forget", ...

    def __init__(self, project: Project, queue: JobQueue) -> None:
        super().__init__()
        self.project, self.queue = project, queue
        self.tree = QTreeWidget()
        self.tree.setAccessibleName("Project: recording, models, runs")
        self.tree.setColumnCount(2)
        self.tree.header().setStretchLastSection(False)
        self.tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.tree.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.tree.setHeaderHidden(True)
        # obj_000001 and obj_000002, two runs of a recording: names differ at their end
        self.tree.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.tree.setIndentation(4)
        self.tree.setRootIsDecorated(False)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._on_menu)
        self.tree.currentItemChanged.connect(self._on_current)
        self.tree.itemDoubleClicked.connect(self._on_double)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tree)
        self._filling = False
        for signal in (project.recordingChanged, project.modelsChanged, project.runsChanged,
                       theme.changed, queue.added, queue.changed, queue.removed):  # fmt: skip
            signal.connect(self.refresh)
        project.objectChanged.connect(self._show_selection)
        project.runSelected.connect(self._show_selection)
        self.refresh()

    def refresh(self, *_: object) -> None:
        self._filling = True
        self.tree.clear()
        project = self.project
        recording = self._group("Recording", "Open or drop an RGB-D folder")
        if project.recording is not None:
            info = project.recording
            name = Path(info.root).name
            item = self._add(recording, name, "film", ("recording", info.root))
            item.setToolTip(0, f"{info.root}\n{info.reason}")
            self._add(recording, f"{len(info)} frames, {info.size[1]}×{info.size[0]}", "", None)
            for topic in info.topics:
                self._add(recording, topic, "", None)
            for split, indices in info.splits.items():
                self._add(recording, f"{split}: {len(indices)}", "", ("split", indices))
        objects = self._group("Objects", "Open or drop CAD files")
        for model in project.models:
            item = self._add(objects, model.name, "box", ("object", model.object_id))
            guess = "?" if model.guessed_unit else ""
            item.setText(1, f"{model.diameter * 1000:.0f} mm{guess}")
            item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight)
            item.setForeground(1, theme.colour("warn" if guess else "muted"))
            symmetric = ", symmetric" if model.symmetric else ""
            about = f"object {model.object_id}{symmetric}, {model.face_count} faces"
            item.setToolTip(0, f"{about}\n{model.source}")
            if guess:
                item.setToolTip(1, f"Its file states no unit; taken as {model.guessed_unit}. "
                                   "Choose it under Doctor, or by a right click.")  # fmt: skip
            else:
                item.setToolTip(1, f"Its file was read in {model.unit}, as stated or named.")
        runs = self._group("Runs", "Trained runs are listed here")
        for run in project.runs:
            job = self.queue.find(run.path)
            status = STATE_WORDS[job.state] if job and not job.state.over else run.status
            other = project.misfit(run.path)
            vain = status in ("done", "stopped") and run.found_nothing
            status = f"other objects: {other}" if other else status
            if vain:
                status += f"; {NOTHING_RIGHT}"
            stopped = run.can_resume and not run.running and (job is None or job.state.over)
            room = BESIDE_RESUME if stopped else BRIEF
            item = self._add_run(runs, run.path, self._short(run.name, room), status)
            if stopped:
                self._add_resume(item, run.path)
            if other or vain:
                item.setIcon(0, icon("circle-alert", "warn"))
        listed = {r.path for r in project.runs}
        for job in self.queue.jobs:
            if job.run not in listed and not job.state.over:
                name = self._short(job.run.name, BRIEF)
                self._add_run(runs, job.run, name, STATE_WORDS[job.state])
        self.tree.expandAll()
        self._filling = False
        self._show_selection()

    def _add_run(
        self, parent: QTreeWidgetItem, path: Path, name: str, status: str
    ) -> QTreeWidgetItem:
        item = self._add(parent, name, "", ("run", str(path)))
        item.setIcon(0, icon(*STATUS_ICONS.get(status, ("circle", "muted"))))
        item.setToolTip(0, f"{path}\n{status}")
        return item

    def _short(self, name: str, room: int) -> str:
        """A long name without the recording's, which stands above; the tool tip has the whole."""
        recording = self.project.recording_path
        begin = f"{recording.name}-" if recording is not None else None
        shorter = begin is not None and len(name) > room and name.startswith(begin)
        return f"…{name.removeprefix(str(begin))}" if shorter else name

    def _add_resume(self, item: QTreeWidgetItem, path: Path) -> None:
        resume = button("Resume", lambda: self.runAction.emit("resume", path), "link",
                        "Go on from its newest checkpoint")  # fmt: skip
        item.setFirstColumnSpanned(False)
        self.tree.setItemWidget(item, 1, resume)

    def _group(self, title: str, hint: str) -> QTreeWidgetItem:
        item = QTreeWidgetItem([title])
        font = QFont(self.font())
        font.setBold(True)
        item.setFont(0, font)
        item.setForeground(0, theme.colour("muted"))
        item.setToolTip(0, hint)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        self.tree.addTopLevelItem(item)
        return item

    def _add(
        self, parent: QTreeWidgetItem, text: str, icon_name: str, data: object
    ) -> QTreeWidgetItem:
        item = QTreeWidgetItem([text])
        if icon_name:
            item.setIcon(0, icon(icon_name, "muted"))
        item.setData(0, ROLE, data)
        if data is None:
            item.setForeground(0, theme.colour("muted"))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        parent.addChild(item)
        item.setFirstColumnSpanned(not (isinstance(data, tuple) and data[0] == "object"))
        return item

    def item_of(self, kind: str, value: object) -> QTreeWidgetItem | None:
        for top in range(self.tree.topLevelItemCount()):
            group = self.tree.topLevelItem(top)
            for i in range(group.childCount() if group else 0):
                child = group.child(i)  # type: ignore[union-attr]
                if child is not None and child.data(0, ROLE) == (kind, value):
                    return child
        return None

    def _show_selection(self, *_: object) -> None:
        self._filling = True
        project = self.project
        for model in project.models:  # beside a selected run it is told, too
            one = self.item_of("object", model.object_id)
            if one is not None:
                mine = model.object_id == project.object_id
                one.setIcon(0, icon("box", "accent" if mine else "muted"))
                for place in range(2):
                    one.setBackground(place, theme.colour("raised") if mine else QBrush())
        item = self.item_of("run", str(project.run)) if project.run else None
        item = item or self.item_of("object", project.object_id)
        if item is not None:
            self.tree.setCurrentItem(item)
        self._filling = False

    def _on_current(self, item: QTreeWidgetItem | None, _: object) -> None:
        data = item.data(0, ROLE) if item is not None else None
        if self._filling or data is None:
            return
        kind, value = data
        if kind == "object":
            self.project.select_run(None)
            self.project.select_object(value)
        elif kind == "run":
            self.project.select_run(Path(value))
        elif kind == "split" and value:
            self.project.select_frame(value[0])

    def _on_double(self, item: QTreeWidgetItem, _: int) -> None:
        data = item.data(0, ROLE)
        if data and data[0] == "run":
            self.runAction.emit("open", Path(data[1]))

    def menu_for(self, path: Path) -> QMenu:
        """What can be done with a run."""
        menu = QMenu(self)
        job = self.queue.find(path)
        info = next((r for r in self.project.runs if r.path == path), None)
        active = job is not None and not job.state.over
        entries: list[tuple[str, str, bool]] = [
            ("open", "Show", True),
            ("curves", "Overlay its curves", not active),
            ("resume", "Resume", not active and info is not None and info.can_resume),
            ("attach", "Attach", not active and info is not None and info.running),
            ("duplicate", "Duplicate with changes…", True),
            ("predict", "Predict on this frame", info in self.project.networks()),
            ("settings", "Its settings…", True),
            ("copy", "Copy as command", True),
            ("pack", "Take to another machine…", True),
            ("folder", "Show folder", True),
            ("forget", "Take off the list", not active),
        ]
        for key, text, enabled in entries:
            action = QAction(text, menu)
            action.setEnabled(enabled)
            action.triggered.connect(lambda _=False, key=key: self.runAction.emit(key, path))
            menu.addAction(action)
        return menu

    def _on_menu(self, at: QPoint) -> None:
        item = self.tree.itemAt(at)
        data = item.data(0, ROLE) if item is not None else None
        menu = None
        if data and data[0] == "run":
            menu = self.menu_for(Path(data[1]))
        elif data and data[0] == "object":
            menu = self.unit_menu()
        if menu is not None:
            menu.exec(self.tree.viewport().mapToGlobal(at))
            menu.deleteLater()

    def unit_menu(self) -> QMenu:
        """The unit that CAD files are read in."""
        menu = QMenu(self)
        texts = {"auto": "Unit as stated, else guessed"}
        for unit in ("auto", "m", "cm", "mm", "inch"):
            action = QAction(texts.get(unit, f"Unit: {unit}"), menu)
            action.setCheckable(True)
            action.setChecked(unit == self.project.unit)
            action.triggered.connect(lambda _=False, unit=unit: self.unitChosen.emit(unit))
            menu.addAction(action)
        return menu
