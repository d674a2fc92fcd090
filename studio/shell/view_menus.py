"""Actions of views and panels, which come after the first paint."""

from __future__ import annotations

from studio.shell.layout import Workspace
from studio.shell.window import StudioWindow


def register_view_actions(w: StudioWindow, space: Workspace) -> None:
    """Actions of the views, once they are built."""
    a = w.actions_registry
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
        action = a.add(
            f"view.mode.{mode}",
            f"Frame: {title}",
            lambda mode=mode: frame_view.modes.choose(mode),
            menu="View",
            group=3,
        )
        if mode == "depth":
            frame_view.depthOffered.connect(action.setEnabled)
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
        "Place object with mouse and keys",
        pose.edit.click,
        menu="Tools",
        icon_name="move-3d",
    )
    a.add("tools.search", "Search object in this frame", pose.search.click, menu="Tools",
          icon_name="search")  # fmt: skip
    a.add("tools.live", "Live camera…", w.choosers.live, menu="Tools", icon_name="film")
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
    a.add(
        "run.pack",
        "Take this job to another machine…",
        space.elsewhere.ask_for_setup,
        menu="Run",
        group=1,
        icon_name="package",
    )
    a.add(
        "file.labels",
        "Write labels of the track…",
        space.label_export.ask,
        menu="File",
        group=1,
        icon_name="tag",
    )
    a.add(
        "file.rerun",
        "Export session for Rerun (.rrd)…",
        space.rerun.ask,
        menu="File",
        group=1,
        icon_name="package",
    )
    a.fill(w.menuBar())


def _step(w: StudioWindow, by: int) -> None:
    w.project.select_frame(w.project.frame_index + by)
