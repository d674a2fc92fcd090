"""All actions of the window, in the order of the menus."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu

from studio.panels.header import ThemeSwitch
from studio.shell.window import StudioWindow
from studio.toolkit.widgets import IconButton

STEP_NAMES = ("data", "synthetic", "selfsup", "evaluate", "export")
STEP_TITLES = ("Data", "Synthetic", "Self-supervise", "Evaluate", "Export")


class RecentMenu(QMenu):
    """The recordings of the start page, and some more; those that are gone are left out."""

    def __init__(self, w: StudioWindow, action: QAction) -> None:
        super().__init__(w)
        self._w, self._action = w, action
        self.aboutToShow.connect(self._fill)
        w.project.recordingChanged.connect(self._offer)
        self._offer()

    def _offer(self) -> None:
        self._action.setEnabled(bool(self._w.settings.recent()))

    def _fill(self) -> None:
        self.clear()
        for entry in self._w.settings.recent():
            path = Path(entry["recording"])
            text = f"{path.name} ({path.parent})".replace("&", "&&")
            self.addAction(text).triggered.connect(partial(self._w.open_recent, entry))
        if self.isEmpty():
            self.addAction("None of them is there any more").setEnabled(False)


def register_actions(w: StudioWindow) -> None:
    """Fill the window's registry."""
    a = w.actions_registry
    a.add(
        "file.open",
        "Open recording…",
        w.choosers.recording,
        menu="File",
        shortcut="Ctrl+O",
        icon_name="folder-open",
    )
    a.add("file.bag", "Open bag…", w.choosers.bag, menu="File", icon_name="film")
    a.add("data.topics", "Choose topics of the bag…", w.choosers.topics_of_open_bag, menu="Data")
    a.add(
        "file.models",
        "Add CAD models…",
        w.choosers.models,
        menu="File",
        shortcut="Ctrl+Shift+O",
        icon_name="box",
    )
    a.add("file.run", "Open run…", w.choosers.run, menu="File", icon_name="rotate-ccw-clock")
    recent = QAction("Open recent", w)  # a menu's own action does not outlive `Actions.fill`
    recent.setMenu(RecentMenu(w, recent))
    a.adopt("file.recent", recent, menu="File")
    a.add("file.sample", "Open sample", w.opener.open_sample, menu="File", icon_name="sparkles")
    a.add(
        "file.runs_folder", "Choose folder for runs…", w.choosers.runs_folder, menu="File", group=1
    )
    a.add("file.close", "Close project", w.close_project, menu="File", group=1, shortcut="Ctrl+W")
    a.add(
        "file.quit", "Quit", w.close, menu="File", group=2, shortcut="Ctrl+Q", icon_name="log-out"
    )

    stack = w.project.undo
    undo = a.add(
        "edit.undo", "Undo", stack.undo, menu="Edit", shortcut="Ctrl+Z", icon_name="undo-2"
    )
    redo = a.add(
        "edit.redo",
        "Redo",
        stack.redo,
        menu="Edit",
        shortcut="Ctrl+Shift+Z | Ctrl+Y",
        icon_name="redo-2",
    )
    for action, word, able, text in (
        (undo, "Undo", stack.canUndoChanged, stack.undoTextChanged),
        (redo, "Redo", stack.canRedoChanged, stack.redoTextChanged),
    ):
        action.setEnabled(False)
        able.connect(action.setEnabled)
        text.connect(
            lambda what, action=action, word=word: action.setText(f"{word} {what}".strip())
        )
    a.add(
        "edit.palette",
        "Command palette…",
        w.open_palette,
        menu="Edit",
        group=1,
        shortcut="Ctrl+Shift+P",
        icon_name="search",
    )

    for number, (key, title) in enumerate(zip(STEP_NAMES, STEP_TITLES, strict=True), 1):
        a.add(
            f"view.{key}",
            f"Go to {title}",
            lambda key=key: w.show_step(key),
            menu="View",
            shortcut=f"Ctrl+{number}",
        )
    looks = QActionGroup(w)
    for look in ("light", "dark", "system"):
        choice = a.add(
            f"view.theme.{look}",
            f"Theme: {look}",
            lambda look=look: w.wear(look),
            menu="View",
            group=1,
            icon_name={"light": "sun", "dark": "moon"}.get(look, ""),
        )
        choice.setIconVisibleInMenu(False)  # its mark stands there
        choice.setCheckable(True)
        choice.setChecked(look == w.settings.theme)
        looks.addAction(choice)
    a.add("view.reset", "Reset layout", w.reset_layout, menu="View", group=2)

    a.add(
        "run.pause",
        "Pause or resume job",
        w.runs.toggle_pause,
        menu="Run",
        shortcut="Ctrl+Shift+Space",
        icon_name="pause",
    )
    a.add("run.stop", "Stop job early and keep it", w.runs.stop, menu="Run", icon_name="square")
    a.add("run.cancel", "Cancel job and discard it", w.cancel_job, menu="Run", icon_name="trash")
    a.add(
        "run.save",
        "Save checkpoint now",
        w.runs.save_now,
        menu="Run",
        shortcut="Ctrl+S",
        icon_name="save",
    )

    def as_the_bar_offers() -> None:
        for name in ("pause", "stop", "cancel", "save"):
            shown = getattr(w.job_bar, name)
            a[f"run.{name}"].setEnabled(shown.isVisibleTo(w.job_bar) and shown.isEnabled())

    w.job_bar.offersChanged.connect(as_the_bar_offers)
    as_the_bar_offers()
    a.add(
        "run.find",
        "Find runs in the runs folder",
        w.opener.find_runs,
        menu="Run",
        group=1,
        icon_name="refresh-cw",
    )
    runners = QActionGroup(w)
    for runner, caption in (
        ("process", "Run jobs in their own process"),
        ("thread", "Run jobs inside the window"),
    ):
        choice = a.add(
            f"run.runner.{runner}",
            caption,
            partial(setattr, w.settings, "runner", runner),
            menu="Run",
            group=2,
        )
        choice.setCheckable(True)
        choice.setChecked(runner == w.settings.runner)
        runners.addAction(choice)

    a.add(
        "help.open",
        "Help for this step",
        w.open_help,
        menu="Help",
        shortcut="F1",
        icon_name="circle-question-mark",
    )
    a.add("help.keys", "Keys", lambda: w.open_help("keys"), menu="Help", icon_name="keyboard")

    for name, tip in (("edit.undo", "Undo"), ("edit.redo", "Redo"), ("edit.palette", "Commands")):
        action = a[name]
        tool = IconButton(a.entries[name].icon, tip)
        tool.setDefaultAction(action)
        w.header.tools.addWidget(tool)
    w.header.tools.addWidget(ThemeSwitch(w.wear))
