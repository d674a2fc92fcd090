"""All actions of the window, in the order of the menus."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from studio.panels.header import ThemeSwitch
from studio.toolkit.widgets import IconButton

if TYPE_CHECKING:
    from studio.shell.window import StudioWindow

STEP_NAMES = ("data", "synthetic", "selfsup", "evaluate", "export")
STEP_TITLES = ("Data", "Synthetic", "Self-supervise", "Evaluate", "Export")


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
    a.add(
        "file.models",
        "Add CAD models…",
        w.choosers.models,
        menu="File",
        shortcut="Ctrl+Shift+O",
        icon_name="box",
    )
    a.add("file.run", "Open run…", w.choosers.run, menu="File", icon_name="rotate-ccw-clock")
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
    for look in ("light", "dark", "system"):
        a.add(
            f"view.theme.{look}",
            f"Theme: {look}",
            lambda look=look: w.wear(look),
            menu="View",
            group=1,
            icon_name={"light": "sun", "dark": "moon"}.get(look, ""),
        )
    a.add("view.reset", "Reset layout", w.reset_layout, menu="View", group=2)

    a.add(
        "run.pause",
        "Pause or resume job",
        w.runs.toggle_pause,
        menu="Run",
        shortcut="Ctrl+Shift+Space",
        icon_name="pause",
    )
    a.add("run.stop", "Save and stop job", w.runs.stop, menu="Run", icon_name="square")
    a.add(
        "run.save",
        "Save checkpoint now",
        w.runs.save_now,
        menu="Run",
        shortcut="Ctrl+S",
        icon_name="save",
    )
    a.add(
        "run.find",
        "Find runs in the runs folder",
        w.opener.find_runs,
        menu="Run",
        group=1,
        icon_name="refresh-cw",
    )
    for runner, caption in (
        ("process", "Run jobs in their own process"),
        ("thread", "Run jobs inside the window"),
    ):
        a.add(
            f"run.runner.{runner}",
            caption,
            partial(setattr, w.settings, "runner", runner),
            menu="Run",
            group=2,
        )

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


def register_view_actions(w: StudioWindow) -> None:
    """Actions of the views, once they are built."""
    a, space = w.actions_registry, w.workspace
    stage, frame_view = space.stage, space.stage.frame_view
    a.add(
        "data.next",
        "Next frame",
        lambda: _step(w, 1),
        menu="Data",
        shortcut="Alt+Right",
        icon_name="step-forward",
    )
    a.add("data.previous", "Previous frame", lambda: _step(w, -1), menu="Data", shortcut="Alt+Left")
    a.add(
        "data.doctor",
        "Examine recording and models",
        space.doctor_panel.examine,
        menu="Data",
        group=1,
        icon_name="stethoscope",
    )

    def preview() -> None:
        w.show_step("synthetic")
        stage.previewWanted.emit()

    a.add(
        "data.synthetic",
        "Preview synthetic images",
        preview,
        menu="Data",
        group=1,
        icon_name="images",
    )
    for mode, title in (
        ("photo", "Photo"),
        ("overlay", "Overlay"),
        ("wipe", "Wipe"),
        ("depth", "Depth difference"),
    ):
        a.add(
            f"view.mode.{mode}",
            f"Frame: {title}",
            lambda mode=mode: frame_view.modes.choose(mode),
            menu="View",
            group=3,
        )
    for key, title, box in (
        ("contour", "Contour", frame_view.show_contour),
        ("box", "3D box", frame_view.show_box),
        ("mask", "Mask", frame_view.show_mask),
        ("truth", "Truth", frame_view.show_truth),
    ):
        a.add(f"view.layer.{key}", f"Show or hide: {title}", box.click, menu="View", group=4)
    a.add(
        "view.zoom",
        "Zoom to object",
        frame_view.zoom_to_object,
        menu="View",
        group=4,
        icon_name="scan-eye",
    )
    for dock in space.docks:
        toggle = dock.toggleViewAction()
        toggle.setText(f"Panel: {dock.windowTitle()}")
        a.adopt(f"view.dock.{dock.objectName()}", toggle, menu="View", group=5)
    pose = space.pose_panel
    a.add(
        "tools.predict",
        "Predict poses on this frame",
        pose.predict.click,
        menu="Tools",
        icon_name="crosshair",
    )
    a.add(
        "tools.edit",
        "Edit pose with mouse and keys",
        pose.edit.click,
        menu="Tools",
        icon_name="move-3d",
    )
    a.add("tools.perturb", "Perturb pose", pose.perturb.click, menu="Tools", icon_name="dices")
    a.add(
        "tools.optimise",
        "Optimise pose on this image",
        pose.optimise.click,
        menu="Tools",
        icon_name="wand-sparkles",
    )
    a.add(
        "tools.xray", "Loss X-ray of this pose", space.show_xray, menu="Tools", icon_name="activity"
    )
    a.add(
        "run.train",
        "Train on synthetic images",
        space.train_panel.run_button.click,
        menu="Run",
        icon_name="play",
    )
    a.add(
        "run.adapt",
        "Run self-supervision",
        space.adapt_panel.run_button.click,
        menu="Run",
        icon_name="play",
    )
    a.fill(w.menuBar())


def _step(w: StudioWindow, by: int) -> None:
    w.project.select_frame(w.project.frame_index + by)
