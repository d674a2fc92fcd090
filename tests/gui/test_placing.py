"""An object is placed on a frame by mouse, keys and numbers, or found by searching."""

from __future__ import annotations

import numpy as np
import pytest
from hands import click, fill
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from tracked_block import pose_at

from studio.engine.compose import rotation_error_deg
from studio.posing.nudge import centre_of, from_angles, to_angles

pytestmark = pytest.mark.gui

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
NONE = Qt.KeyboardModifier.NoModifier
CONTROL = Qt.KeyboardModifier.ControlModifier
LATER_MS = 850  # nudges that are apart so far are undone one by one


def drag(canvas, start: QPoint, by: QPoint, button=LEFT) -> None:
    QTest.mousePress(canvas, button, NONE, start)
    for part in (0.5, 1.0):
        QTest.mouseMove(canvas, start + by * part)
    QTest.mouseRelease(canvas, button, NONE, start + by)


def turn_wheel(canvas, keys) -> None:
    at = QPointF(canvas.rect().center())
    QApplication.sendEvent(canvas, QWheelEvent(
        at, canvas.mapToGlobal(at), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton, keys,
        Qt.ScrollPhase.NoScrollPhase, False,
    ))  # fmt: skip


@pytest.fixture
def placing(opened, wait):
    """A labelled frame without a pose, a thing on it selected, the Pose panel in front."""
    project, space = opened.project, opened.workspace
    project.select_frame(project.recording.splits["eval"][0])
    wait(lambda: opened.director.frame.index == project.frame_index)
    truth = max(opened.director.frame.truth, key=lambda p: -p.t[2])
    project.select_object(truth.object_id)
    space.inspector.setCurrentWidget(space.pose_panel)
    return opened, truth


def test_a_click_puts_it_on_the_depth_and_the_mouse_moves_turns_and_rolls_it(placing, wait):
    window, truth = placing
    project, space, frame = window.project, window.workspace, window.director.frame
    panel, canvas = space.pose_panel, space.stage.frame_view.canvas
    tool = window.workspace.pose_editing.tool
    model = project.model(truth.object_id)
    assert project.pose() is None
    click(panel.edit)

    # a click on the visible thing
    u, v, w = frame.K @ centre_of(truth, model)
    at = canvas.to_widget_point(QPointF(u / w, v / w)).toPoint()
    QTest.mouseClick(canvas, LEFT, NONE, at)
    wait(lambda: project.pose() is not None)
    pose = project.pose()
    assert np.linalg.norm(centre_of(pose, model) - centre_of(truth, model)) < model.diameter / 2
    wait(lambda: drawn(window))
    assert lies_on_the_depth(window, QPointF(u / w, v / w))
    assert project.origins[project.frame_index, truth.object_id] == "edited"

    # the right button turns it about its middle, the knob rolls it, the wheel pushes it away
    drag(canvas, at, QPoint(30, 0), RIGHT)
    turned = project.pose()
    assert rotation_error_deg(turned.R, pose.R) == pytest.approx(12, abs=0.1)
    np.testing.assert_allclose(centre_of(turned, model), centre_of(pose, model), atol=1e-9)
    knob = canvas.to_widget_point(tool.knob(1 / canvas.transform().m11()))
    arm = knob - canvas.to_widget_point(tool.centre())
    quarter = QPointF(-arm.y(), arm.x()) - arm  # clockwise
    drag(canvas, knob.toPoint(), quarter.toPoint())
    rolled = project.pose()
    assert rotation_error_deg(rolled.R, turned.R) == pytest.approx(90, abs=3)
    assert (rolled.R @ turned.R.T)[1, 0] > 0.9
    turn_wheel(canvas, CONTROL)
    away = np.linalg.norm(centre_of(project.pose(), model)) - np.linalg.norm(
        centre_of(rolled, model)
    )
    assert 0.004 < away < 0.008
    zoom = canvas.transform().m11()
    turn_wheel(canvas, NONE)
    assert canvas.transform().m11() > zoom
    canvas.fit()

    # dragged it lands on the depth again; without the tick it keeps its distance
    QTest.qWait(LATER_MS)
    before, steps = project.pose(), project.undo.count()
    drag(canvas, tool_point(canvas, tool), QPoint(0, 24))
    moved = project.pose()
    wait(lambda: project.pose() is not moved)
    wait(lambda: drawn(window))
    assert lies_on_the_depth(window, tool.centre())
    assert project.undo.count() == steps + 1  # moved and landed are one edit
    QTest.keyClick(window, Qt.Key.Key_Z, CONTROL)
    assert project.pose() is before
    click(panel.snap)
    drag(canvas, tool_point(canvas, tool), QPoint(-20, 0))
    assert centre_of(project.pose(), model)[2] == pytest.approx(centre_of(before, model)[2])

    # numbers
    fill(panel.numbers.boxes["z"], "512.5")
    assert project.pose().t[2] == pytest.approx(0.5125)
    fill(panel.numbers.boxes["z"], "498,5")  # a decimal comma, which was dropped: 4985 mm
    assert project.pose().t[2] == pytest.approx(0.4985)
    R = project.pose().R
    fill(panel.numbers.boxes["yaw"], "30")
    assert to_angles(project.pose().R)[2] == pytest.approx(30)
    assert to_angles(project.pose().R)[:2] == pytest.approx(to_angles(R)[:2])

    # all of it is undone, to no pose at all, and done again
    last = project.pose()
    while project.undo.canUndo():
        QTest.keyClick(window, Qt.Key.Key_Z, CONTROL)
    assert project.pose() is None
    assert not panel.numbers.boxes["z"].isEnabled()
    while project.undo.canRedo():
        QTest.keyClick(window, Qt.Key.Key_Z, CONTROL | Qt.KeyboardModifier.ShiftModifier)
    np.testing.assert_array_equal(project.pose().t, last.t)


def test_what_a_click_began_is_said_at_once(placing, wait):
    """The first click loads the renderer: up to a quarter of a minute passed without a sign."""
    window, truth = placing
    panel, view = window.workspace.pose_panel, window.workspace.stage.frame_view
    name, frame = window.project.model(truth.object_id).name, window.project.frame_index + 1
    click(panel.edit)
    QTest.mouseClick(view.canvas, LEFT, NONE, view.canvas.rect().center())
    assert window.project.pose() is None
    said = f"Placing {name} on frame {frame}… The first one loads the renderer: some seconds."
    assert view.told()[0][0] == said
    assert view.canvas.cursor().shape() == Qt.CursorShape.BusyCursor
    wait(lambda: window.job_bar.text.text() == said)
    assert window.project.pose() is None
    wait(lambda: window.project.pose() is not None)
    assert said not in dict(view.told())
    assert view.canvas.cursor().shape() == Qt.CursorShape.ArrowCursor
    wait(lambda: window.job_bar.text.text() != said)
    # from now on it takes no time worth a word
    drag(view.canvas, tool_point(view.canvas, window.workspace.pose_editing.tool), QPoint(0, 24))
    assert not panel.placing.told


def test_what_has_no_pose_cannot_be_moved_and_says_so(placing, wait):
    """A drag, the wheel or an arrow did nothing, and only the help said why."""
    window, truth = placing
    project, canvas = window.project, window.workspace.stage.frame_view.canvas
    told = window.workspace.stage.frame_view.told
    name = project.model(truth.object_id).name
    said = f"{name} has no pose on this frame yet: click where it is, then move it."
    click(window.workspace.pose_panel.edit)
    middle = canvas.rect().center()
    origin = window.workspace.pose_panel.origin  # it offered to predict, without a network
    assert origin.text() == "No pose on this frame yet: place it by a click or search for it."
    index = project.frame_index
    for button in (LEFT, RIGHT):
        drag(canvas, middle, QPoint(30, 0), button)
        assert said in dict(told())
        for there in (index - 1, index):
            project.select_frame(there)
            wait(lambda there=there: window.director.frame.index == there)
            assert said not in dict(told())
    turn_wheel(canvas, CONTROL)
    assert said in dict(told())
    click(window.workspace.pose_panel.edit)
    assert said not in dict(told())
    click(window.workspace.pose_panel.edit)
    QTest.keyClick(canvas, Qt.Key.Key_Left)
    assert said in dict(told())
    assert project.pose() is None
    QTest.mouseClick(canvas, LEFT, NONE, middle)
    assert said not in dict(told())
    wait(lambda: project.pose() is not None)
    assert said not in dict(told())
    drag(canvas, middle, QPoint(30, 0))
    assert said not in dict(told())


def test_numbers_that_put_it_out_of_sight_are_said_and_undone(placing, wait, monkeypatch):
    """A typed number could put the object behind the camera without a word; Ctrl+Z in the box, too,
    was the text's alone, and placing it in the middle left it behind the camera.
    """
    monkeypatch.setattr("studio.model.edits.MERGE_WITHIN_S", 0.0)  # each is undone by itself
    window, truth = placing
    project, panel = window.project, window.workspace.pose_panel
    view, tool = window.workspace.stage.frame_view, window.workspace.pose_editing.tool
    model = project.model(truth.object_id)
    click(panel.edit)
    click(panel.place)
    wait(lambda: project.pose() is not None)
    assert not panel.unseen.isVisible()
    assert view.warning == ""
    good = project.pose()
    for box, number, where in (
        ("z", "-400", "behind the camera"), ("z", "0", "the camera"),
        ("x", "5000", "outside the picture, to the right"),
        ("y", "-5000", "outside the picture, above"), ("z", "90000", "smaller than 3 pixels"),
    ):  # fmt: skip
        fill(panel.numbers.boxes[box], number)
        assert panel.unseen.isVisible()
        assert where in panel.unseen.text()
        assert view.warning.startswith(f"{model.name} is ")
        assert where in view.warning
        lost = project.pose()
        drag(view.canvas, view.canvas.rect().center(), QPoint(9, 0))
        turn_wheel(view.canvas, CONTROL)
        assert np.isfinite(project.pose().t).all()
        for _ in range(project.undo.count()):
            if project.pose() is not lost:
                QTest.keyClick(window, Qt.Key.Key_Z, CONTROL)
        panel.numbers.boxes[box].setFocus()
        QTest.keyClick(window.focusWidget(), Qt.Key.Key_Z, CONTROL)
        assert project.pose() is good
        assert not panel.unseen.isVisible()
        assert view.warning == ""

    # the way back without undo
    fill(panel.numbers.boxes["z"], "-400")
    tool_before = project.pose()
    click(panel.place)
    wait(lambda: project.pose() is not tool_before)
    assert centre_of(project.pose(), model)[2] > 0
    assert not panel.unseen.isVisible()
    assert 0 < tool.centre().x() < window.director.frame.size[1]

    # what is half typed is the box's own
    box, here = panel.numbers.boxes["x"], project.pose()
    click(box)
    QTest.keyClick(box, Qt.Key.Key_A, CONTROL)
    QTest.keyClicks(box, "7")
    QTest.keyClick(box, Qt.Key.Key_Z, CONTROL)
    assert project.pose() is here


def test_the_knob_stays_on_the_picture(placing, wait):
    """Wherever the object is put, there is something to roll it by."""
    window, _ = placing
    canvas, tool = window.workspace.stage.frame_view.canvas, window.workspace.pose_editing.tool
    click(window.workspace.pose_panel.edit)
    height, width = window.director.frame.size
    for x, y in ((width / 2, 4), (4, height / 2), (width - 4, height - 4)):
        before = window.project.pose()
        QTest.mouseClick(canvas, LEFT, NONE, canvas.to_widget_point(QPointF(x, y)).toPoint())
        wait(lambda before=before: window.project.pose() is not before)
        knob = tool.knob(1 / canvas.transform().m11())
        assert 0 <= knob.x() <= width
        assert 0 <= knob.y() <= height


def tool_point(canvas, tool) -> QPoint:
    return canvas.to_widget_point(tool.centre()).toPoint()


def drawn(window) -> bool:
    """Whether the picture shows the present pose."""
    shown = window.workspace.stage.frame_view.rendering("predicted")
    return shown is not None and np.array_equal(shown.poses[0].t, window.project.pose().t)


def lies_on_the_depth(window, at: QPointF) -> bool:
    """Whether the drawn surface is where the sensor measured it, about a pixel."""
    about = np.s_[int(at.y()) - 1 : int(at.y()) + 2, int(at.x()) - 1 : int(at.x()) + 2]
    surface = window.workspace.stage.frame_view.rendering("predicted").depth_m[about]
    sensor = np.median(window.director.frame.depth_m[about])
    return surface.min() - 0.002 < sensor < surface.max() + 0.002


def test_search_finds_it_and_is_undone(open_studio, block_recording, wait, monkeypatch):
    monkeypatch.setattr("studio.shell.wiring.pose_editing.DOUBTFUL", 1.01)
    window = open_studio(block_recording)
    wait(lambda: window.project.models and window.director.frame is not None)
    project, panel = window.project, window.workspace.pose_panel
    window.workspace.inspector.setCurrentWidget(panel)
    panel.search.setFocus()
    click(panel.search)
    assert panel.search.text() == "Searching…"
    assert not panel.search.isEnabled()
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Space)  # it placed the object in the middle
    bar = window.job_bar.text
    wait(lambda: bar.text().startswith("Searching frame 1 for block, for 0:0"))
    assert bar.text().endswith("usually 8 to 15 s.")
    wait(lambda: panel.search.isEnabled())
    assert "block was found in frame 1 after" in window.banner.text.text()
    # what is less sure than a track's doubtful poses has no tick
    assert "which is low" in window.banner.text.text()
    assert window.banner.objectName() == "banner_warn"
    assert np.linalg.norm(project.pose().t - pose_at(0).t_m2c) < 0.01
    assert "found by searching" in panel.origin.text()
    assert panel.search.hasFocus()
    QTest.keyClick(window, Qt.Key.Key_Z, CONTROL)
    assert project.pose() is None


def test_a_search_is_cancelled_or_outrun_by_hand(open_studio, block_recording, wait):
    """It had no end but its own, and what it found was dropped where the pose was touched."""
    window = open_studio(block_recording)
    wait(lambda: window.project.models and window.director.frame is not None)
    project, panel, banner = window.project, window.workspace.pose_panel, window.banner
    window.workspace.inspector.setCurrentWidget(panel)
    answers = []
    window.worker.busyChanged.connect(answers.append)
    click(panel.search)
    wait(lambda: window.job_bar.go.text() == "Cancel")
    click(panel.searching.cancel)
    assert panel.search.text() == "Search"
    assert panel.search.isEnabled()
    assert not panel.searching.cancel.isVisible()
    wait(lambda: answers[-1:] == [False])  # it ended there too
    assert project.pose() is None
    assert banner.isHidden()

    click(panel.search)
    click(panel.place)
    wait(lambda: project.pose() is not None)
    mine = project.pose()
    wait(lambda: not panel.searching.under_way)
    assert project.pose() is mine
    assert "changed meanwhile and stays" in banner.text.text()
    click(banner.action)
    assert np.linalg.norm(project.pose().t - pose_at(0).t_m2c) < 0.01
    QTest.keyClick(window, Qt.Key.Key_Z, CONTROL)
    assert project.pose() is mine


def test_angles_are_those_of_fixed_axes():
    for angles in ((10, -40, 170), (0, 90, 25), (-179, 5, 0)):
        assert to_angles(from_angles(*angles)) == pytest.approx(angles, abs=1e-6)
    np.testing.assert_allclose(from_angles(0, 0, 90) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
