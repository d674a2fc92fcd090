"""What the window does, driven by hand: drops, fixes, poses, views, palette, replay, X-ray."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hands import click, drag_over, drop, fill
from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QTextDocument
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QApplication,
    QLabel,
    QWidget,
)

from self6d.events import Scalars
from self6d.paths import resource
from self6d.scene.mesh_names import KINDS
from studio.controllers.health_watch import GAP, STRIKES, TRUST, HealthWatch
from studio.engine.types import PoseData
from studio.jobs import Job, JobSpec, JobState
from studio.panels.help import HelpDialog
from studio.shell.palette import CommandPalette

pytestmark = pytest.mark.gui

CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def posed(opened, wait):
    """A labelled frame with the truth as the pose that is worked on."""
    project = opened.project
    index = project.recording.splits["eval"][0]
    project.select_frame(index)
    wait(lambda: opened.director.frame.index == index)
    truth = opened.director.frame.truth
    project.select_object(truth[0].object_id)
    project.put_poses(index, list(truth), "predicted")
    view = opened.workspace.stage.frame_view
    wait(lambda: view.rendering("predicted") is not None and view.rendering("truth") is not None)
    return opened


def dialog(kind: type):
    return next((w for w in QApplication.topLevelWidgets() if isinstance(w, kind)), None)


def test_drops_are_announced_taken_or_refused_with_the_reason(opened, sample, tmp_path, wait):
    window, banner = opened, opened.banner
    letter = tmp_path / "letter.txt"
    letter.write_text("no model")
    drag_over(window, [letter])
    assert window.drop.isVisible()
    assert not window.drop.welcome
    drop(window, letter)
    assert not window.drop.isVisible()
    assert "letter.txt cannot be opened" in banner.text.text()
    (tmp_path / "empty").mkdir()
    drop(window, tmp_path / "empty")
    wait(lambda: "empty" in banner.text.text())
    assert window.project.recording_path == sample

    # what is packed says what to do, and of several each that is left out is named, in one banner
    packed, broken = tmp_path / "frames.zip", tmp_path / "broken.ply"
    packed.write_bytes(b"PK")
    broken.write_text("no mesh")
    drop(window, packed)
    assert banner.text.text() == "frames.zip is packed: unpack it, and drop what was in it."
    drag_over(window, [sample, letter, packed])
    assert window.drop.text == "Open 1 of 3; not letter.txt, frames.zip"
    drop(window, letter, tmp_path / "empty", packed)
    wait(lambda: "letter.txt" in banner.text.text())
    assert all(name in banner.text.text() for name in ("empty", "frames.zip"))
    drop(window, broken)
    wait(lambda: "broken.ply" in banner.text.text())
    assert "letter.txt" not in banner.text.text()
    drop(window, letter, tmp_path / "empty", broken)  # its error covered what was left out
    wait(lambda: "broken.ply" in banner.text.text() and "letter.txt" in banner.text.text())
    assert "empty" in banner.text.text()
    assert len(window.project.models) == 3

    stray = tmp_path / "widget.ply"
    shutil.copy(sample / "models" / "obj_000001.ply", stray)
    drag_over(window, [stray])
    assert window.drop.text == "Open widget.ply as a CAD model"
    drop(window, letter, stray, packed)
    wait(lambda: len(window.project.models) == 4)
    assert banner.isVisible()  # it went away when the rest was open
    assert all(name in banner.text.text() for name in ("letter.txt", "frames.zip"))
    assert len({m.object_id for m in window.project.models}) == 4
    QTest.keyClick(window, Qt.Key.Key_Z, CONTROL)
    assert len(window.project.models) == 3


def test_doctors_fix_is_one_click_and_undone_by_one(open_studio, sample, tmp_path, wait):
    wrong = tmp_path / "wrong"
    shutil.copytree(sample, wrong)
    for path in wrong.rglob("scene_camera.json"):
        table = json.loads(path.read_text())
        for camera in table.values():
            camera["depth_scale"] *= 10
        path.write_text(json.dumps(table))
    window = open_studio(wrong)
    panel, project = window.workspace.doctor_panel, window.project
    wait(lambda: any(f["code"] == "depth-scale" for f in panel.report.get("findings", ())))
    assert len(panel.report["models"]) == 3  # it is looked over once, when its models are there
    assert window.header.state("data") == "bad"
    number = [f["code"] for f in panel.report["findings"]].index("depth-scale")
    wait(lambda: panel.fix_buttons[number].isVisible())
    click(panel.fix_buttons[number])
    wait(lambda: project.recording_path != wrong)
    wait(lambda: panel.report and panel.report["path"] == str(project.recording_path))
    assert "depth-scale" not in [f["code"] for f in panel.report["findings"]]
    QTest.keyClick(window, Qt.Key.Key_Z, CONTROL)
    assert project.recording_path == wrong


def test_every_way_to_look_at_a_pose_shows_something_else(posed, wait):
    view = posed.workspace.stage.frame_view
    pictures = {}
    for mode in ("photo", "overlay", "wipe", "depth"):
        click(view.modes.button(mode))
        pictures[mode] = view.canvas.grab().toImage()
    assert len({bytes(p.constBits()) for p in pictures.values()}) == 4
    assert view.difference_mm < 10
    plain = pictures["depth"]
    for box in (view.show_box, view.show_mask, view.show_truth):
        click(box)
        assert view.canvas.grab().toImage() != plain
        click(box)
    middle = view.canvas.to_widget_point(QPointF(64.5, 48.5)).toPoint()
    QTest.mouseMove(view.canvas, middle + QPoint(3, 3))
    QTest.mouseMove(view.canvas, middle)
    wait(lambda: "rgb" in view.readout.text())
    assert "mm  point" in view.readout.text() or "no depth" in view.readout.text()


def test_pose_moves_by_keys_mouse_and_palette_and_all_is_undone(posed, wait):
    project, space = posed.project, posed.workspace
    start = project.pose()
    space.inspector.setCurrentWidget(space.pose_panel)
    click(space.pose_panel.edit)
    canvas = space.stage.frame_view.canvas
    QTest.keyClick(canvas, Qt.Key.Key_Right)
    np.testing.assert_allclose(project.pose().t - start.t, [0.001, 0, 0], atol=1e-9)
    QTest.qWait(900)  # later than nudges that undo together
    middle = canvas.rect().center()
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    QTest.mouseMove(canvas, middle + QPoint(0, 20))
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(0, 20))
    assert project.pose().t[1] > start.t[1]
    QTest.qWait(900)
    QTest.keyClick(posed, Qt.Key.Key_P, CONTROL | Qt.KeyboardModifier.ShiftModifier)
    wait(lambda: dialog(CommandPalette) is not None)
    palette = dialog(CommandPalette)
    assert not palette.mask().contains(QPoint(0, 0))  # round, and not black there
    QTest.keyClicks(palette.search, "xqz")
    assert palette.nothing.isVisible()
    palette.search.clear()
    QTest.keyClicks(palette.search, "perturb")
    assert not palette.nothing.isVisible()
    QTest.keyClick(palette.search, Qt.Key.Key_Return)
    assert project.undo.undoText() == "Perturb pose"
    assert project.undo.count() == 3
    for _ in range(3):
        QTest.keyClick(posed, Qt.Key.Key_Z, CONTROL)
    np.testing.assert_array_equal(project.pose().t, start.t)
    np.testing.assert_array_equal(project.pose().R, start.R)


def test_single_image_plays_live_and_is_replayed(posed, wait):
    project, space = posed.project, posed.workspace
    panel = space.pose_panel
    space.inspector.setCurrentWidget(panel)
    click(panel.perturb)
    start, shown = project.pose(), set()
    project.posesChanged.connect(lambda index: shown.add(project.told_by(index)))
    fill(panel.steps, "40")
    click(panel.optimise)
    assert space.stage.page == "frames"
    job = posed.runs.job
    wait(lambda: job.state.over)
    assert job.state is JobState.DONE, job.details
    wait(lambda: "done, step 40/40." in posed.job_bar.text.text())  # it was the last one told
    assert not np.array_equal(project.pose().t, start.t)
    steps = {int(step) for told in shown for step in re.findall(r"on this image, step (\d+)", told)}
    assert steps & set(range(1, 40)), steps  # it moved meanwhile
    assert panel.plot.isVisible()
    assert [trace.name for trace in panel.plot.traces] == ["loss", "rotation", "shift"]
    panel.replay.setFocus()
    QTest.keyClick(panel.replay, Qt.Key.Key_Home)
    first = job.ending.result["trajectory"]["t_m2c"][0]
    np.testing.assert_allclose(project.pose().t, first)
    assert "Step 0, loss" in panel.replay_note.text()
    assert "off by" in panel.replay_note.text()
    QTest.keyClick(posed, Qt.Key.Key_Z, CONTROL)
    np.testing.assert_array_equal(project.pose().t, start.t)


def test_xray_shows_arrows_and_a_map_and_goes_with_the_pose(posed, wait):
    space = posed.workspace
    layer = space.stage.frame_view.xray
    space.inspector.setCurrentWidget(space.xray_panel)
    click(space.xray_panel.examine)
    wait(lambda: space.xray_panel.xray is not None)
    shown = [name for name, glyph in space.xray_panel.glyphs.items() if glyph.isVisible()]
    assert shown == ["total", "mask", "ab", "ms_ssim", "perceptual", "geometry"]
    before = space.stage.frame_view.canvas.grab().toImage()
    click(space.xray_panel.glyphs["geometry"])
    assert layer.term == "geometry"
    assert space.stage.frame_view.canvas.grab().toImage() != before
    project, pose = posed.project, posed.project.pose()
    QTest.keyClick(posed, Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    assert space.xray_panel.xray is None

    # far from all that the camera measured every term is zero, which is no agreement
    project.edit_pose(PoseData(pose.object_id, pose.R, 0.6 * pose.t), "nearer")
    click(space.xray_panel.examine)
    wait(lambda: space.xray_panel.xray is not None)
    assert space.xray_panel.xray.terms["total"].value == 0
    assert "there is nothing to compare" in space.xray_panel.note.text().splitlines()[0]


def test_click_on_a_checkpoint_looks_through_it(opened, trained, wait):
    drop(opened, trained)
    curves = opened.workspace.curves
    run = str(trained)
    wait(lambda: run in curves.runs and curves.runs[run].checkpoints)
    asked = []
    curves.checkpointClicked.connect(lambda *chosen: asked.append(chosen))
    place = curves.checkpoint_place(run, curves.runs[run].checkpoints[-1])
    QTest.mouseClick(curves.plot.viewport(), Qt.MouseButton.LeftButton, pos=place)
    wait(lambda: asked)
    assert asked == [(run, 2)]
    wait(lambda: "at step 2" in opened.banner.text.text())


def test_run_of_a_shell_is_followed_when_dropped(opened, sample, quick, tmp_path, wait):
    spec = JobSpec(
        "train", tmp_path / "run", models=(sample / "models",), preset="tiny", steps=100_000,
        options={"camera": sample}, overrides=dict(quick),
    )  # fmt: skip
    process = subprocess.Popen(
        spec.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        wait(lambda: (spec.out / "events.jsonl").exists())
        drop(opened, spec.out)
        wait(lambda: opened.runs.job is not None and opened.runs.job.state is JobState.RUNNING)
        assert opened.runs.job.pid == process.pid
        wait(lambda: opened.workspace.curves.terms())
        click(opened.job_bar.stop)
        wait(lambda: opened.runs.job.state is JobState.STOPPED)
        process.wait(20)
    finally:
        process.kill()
        process.wait()


def test_help_opens_on_the_page_of_the_step(opened, wait):
    click(opened.header.buttons["evaluate"])
    QTest.keyClick(opened, Qt.Key.Key_F1)
    wait(lambda: dialog(HelpDialog) is not None)
    page = dialog(HelpDialog)
    assert page.list.currentItem().text() == "Evaluate, export"
    assert len(page.text.toPlainText()) > 300
    page.show_page("tour")
    pictures = re.findall(r"!\[[^]]+\]\((.+?)\)", resource("help/tour.md").read_text())
    assert len(pictures) == len(set(pictures)) == 12
    kind = QTextDocument.ResourceType.ImageResource.value
    for name in (one.replace("-light", look) for one in pictures for look in ("-light", "-dark")):
        picture = page.text.loadResource(kind, QUrl(name))
        assert 320 <= picture.width() <= page.text.viewport().width(), name
    page.close()


def test_the_welcome_shows_pictures_and_leads_on(open_studio, wait):
    window = open_studio()
    assert all(shown.pixmap().width() > 0 for shown, _ in window.welcome._pictures)
    click(window.welcome.tour_button)
    wait(lambda: dialog(HelpDialog) is not None)
    assert dialog(HelpDialog).list.currentItem().text() == "Tour in pictures"
    dialog(HelpDialog).close()
    window.opener.progress.emit("Generating the sample's frames", 12, 72)
    assert window.job_bar.text.text() == "Generating the sample's frames: 12 of 72"


def test_the_welcome_lists_the_formats_that_readme_does(open_studio):
    """ScanNet, Open3D, Record3D, Stray Scanner and STL were left out."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    told = readme[readme.index("`DATA` is a BOP") :].partition("the layout is found")[0]
    shown = [w.text() for w in open_studio().welcome.findChildren(QLabel) if w.isVisible()]
    (card,) = (text for text in shown if text.startswith("RGB-D frames (BOP"))
    for name in ("TUM", "LineMOD", "YCB-Video", "ScanNet", "Open3D", "Record3D", "Stray", "ROS"):
        assert name in told
        assert name in card
    for kind in KINDS.replace(" or ", ", ").split(", "):
        assert kind in told
        assert kind in card


def test_falling_health_pauses_the_run_once_and_says_why(qtbot):
    class Watched(Job):
        pauses = 0

        def pause(self) -> None:
            self.pauses += 1

    job = Watched(JobSpec("adapt", Path("/nowhere/run")))
    job.state = JobState.RUNNING
    watch, said = HealthWatch(), []
    watch.collapsed.connect(lambda about, text: said.append(text))
    watch.watch(job)
    for step, health, strikes in ((0, 0.8, 0), (50, 0.5, 0), (100, 0.4, 1), (150, 0.3, 2)):
        values = {TRUST: health, STRIKES: float(strikes), GAP: 0.021}
        job.scalars.emit([Scalars(step, values)])
    assert job.pauses == 1
    assert "fell to 0.40, 21 mm between rendering and depth at step 100" in said[0]
    assert len(said) == 1
    job.scalars.emit([Scalars(200, {STRIKES: 0.0}), Scalars(250, {STRIKES: 1.0})])
    assert job.pauses == 2  # it had recovered in between


def test_one_window_that_stays_and_makes_room(qapp, open_studio, sample, wait):
    """No stray windows, none made anew with the first cloud, notices float, panels give way."""

    class Spy(QObject):
        def eventFilter(self, watched, event):
            if isinstance(watched, QWidget) and watched.isWindow():
                if event.type() == QEvent.Type.Show:
                    shown.append(watched)
                elif event.type() == QEvent.Type.WinIdChange:
                    made.append(watched)
            return False

    shown, made, spy = [], [], Spy()
    qapp.installEventFilter(spy)
    window = open_studio(sample)
    stage = window.workspace.stage
    wait(lambda: window.project.models and stage.cloud_view.cloud is not None)
    qapp.removeEventFilter(spy)
    assert stage.cloud_view.failure == ""
    assert shown == [window]
    assert made == [window]
    assert window.minimumSizeHint().width() <= 960  # 1920 x 1080 at scale 2
    assert window.minimumSizeHint().height() <= 540

    place, size = stage.mapTo(window, QPoint()), stage.size()
    window.say("bad", "What went wrong, and what to do about it. " * 6)
    wait(lambda: window.banner.isVisible())
    qapp.processEvents()
    assert (stage.mapTo(window, QPoint()), stage.size()) == (place, size)
    assert window.banner.height() >= window.banner.text.heightForWidth(window.banner.text.width())

    dock = window.workspace.docks[0]
    wide, edge = dock.width(), QPoint(dock.geometry().right() + 4, dock.geometry().center().y())
    button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QTest.mouseMove(window, edge)
    QTest.mousePress(window, button, none, edge)
    for k in range(1, 11):
        QTest.mouseMove(window, edge + QPoint(8 * k, 0))
        qapp.processEvents()
    QTest.mouseRelease(window, button, none, edge + QPoint(80, 0))
    wait(lambda: dock.width() >= wide + 60, 5)
