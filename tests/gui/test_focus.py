"""The keyboard is always somewhere useful: after pages change, data is opened, dialogs close."""

from __future__ import annotations

import pytest
import real_hands
import stories
from hands import click
from PySide6.QtCore import QPoint, QPointF, Qt, QTimer
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QScrollArea, QWidget
from real_hands import Studio
from stories import SPACE

from studio.toolkit.widgets import IconButton, button, row

pytestmark = pytest.mark.gui
CONTROL = Qt.KeyboardModifier.ControlModifier
MISSING = real_hands.missing()


def at() -> QWidget | None:
    return QApplication.focusWidget()


def press(key: Qt.Key, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(at() or QApplication.activeWindow(), key, keys)


def test_each_step_is_entered_at_its_first_control(open_studio, sample, wait):
    window = open_studio()
    assert at() is window.welcome.sample_button
    window.opener.open_paths([sample])
    wait(lambda: window.project.models and window.director.frame is not None)
    space = window.workspace
    assert at() is space.stage.scrubber
    frame = window.project.frame_index
    press(Qt.Key.Key_Right)
    assert window.project.frame_index == frame + 1
    for key, wanted in (
        (Qt.Key.Key_2, space.train_panel.start), (Qt.Key.Key_3, space.adapt_panel.start),
        (Qt.Key.Key_4, space.evaluate_page.runs), (Qt.Key.Key_5, space.export_page.run),
        (Qt.Key.Key_1, space.stage.scrubber),
    ):  # fmt: skip
        press(key, CONTROL)
        assert at() is wanted
    # by the mouse as well; and coming to the page where one is leaves the keyboard where it is
    click(window.header.buttons["selfsup"])
    assert at() is space.adapt_panel.start
    space.adapt_panel.seed.setFocus()
    press(Qt.Key.Key_3, CONTROL)
    assert at() is space.adapt_panel.seed
    space.show_track()
    assert space.track_panel.isAncestorOf(at())
    # not at "Learn without them", where Enter would leave a track's poses out
    space.inspector.setCurrentWidget(space.adapt_panel)
    window.project.edit_option("adapt:poses", str(sample / "poses.json"), "Learn from a track")
    assert space.adapt_panel.from_track.drop.isVisible()
    press(Qt.Key.Key_1, CONTROL)
    press(Qt.Key.Key_3, CONTROL)
    assert at() is space.adapt_panel.start


@pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")
@pytest.mark.timeout(300)
def test_keys_alone_open_the_sample_and_a_file_dialog_gives_the_keyboard_back(sample, tmp_path):
    home, at = tmp_path / "home", "QApplication.focusWidget()"
    stories.put_sample(home, sample)
    recording, _ = stories.make_plain(tmp_path, sample)
    with Studio(home) as studio:
        assert studio.see(f"{at}.text()") == "Open sample"
        studio.key("space")
        studio.wait("window().project.models and window().director.frame is not None")
        studio.wait(f"{at} is {SPACE}.stage.scrubber")
        studio.key("Right", "ctrl+4")
        studio.wait(f"window().project.frame_index == 1 and {at} is {SPACE}.evaluate_page.runs")
        studio.key("ctrl+o")
        studio.wait("dialog() == 'Open a recording'")
        studio.key("Escape")
        studio.wait(f"{at} is {SPACE}.evaluate_page.runs")
        studio.key("ctrl+o")
        studio.choose_file("Open a recording", recording)
        studio.wait("window().project.recording_path.name == 'drill'")
        studio.wait(f"{at} is {SPACE}.stage.scrubber")


def test_a_button_that_is_off_for_a_while_has_the_keyboard_again_then(qtbot):
    page, pressed = QWidget(), []
    first, second = (
        button("First", lambda: first.setEnabled(False)),
        button("Second", lambda: pressed.append(1)),
    )
    third = IconButton("x", "Third", lambda: third.hide())
    page.setLayout(row(first, second, third))
    qtbot.addWidget(page)
    page.show()
    page.activateWindow()
    qtbot.waitUntil(page.isActiveWindow)
    first.setFocus()
    press(Qt.Key.Key_Space)
    assert at() is page  # not nowhere, and not on the next, which a second Space would press
    press(Qt.Key.Key_Space)
    assert not pressed
    first.setEnabled(True)
    assert at() is first
    third.setFocus()
    press(Qt.Key.Key_Space)
    assert at() is page
    press(Qt.Key.Key_Space)
    assert not pressed
    press(Qt.Key.Key_Tab)
    assert at() is first


def test_enter_presses_the_button_that_has_the_keyboard(opened):
    """Space did; Enter did nothing, on any page."""
    window, space = opened, opened.workspace
    space.inspector.setCurrentWidget(space.pose_panel)
    edit = space.pose_panel.edit
    edit.setFocus()
    press(Qt.Key.Key_Return)  # in a dock
    assert edit.isChecked()
    edit.setFocus()
    press(Qt.Key.Key_Enter, Qt.KeyboardModifier.KeypadModifier)
    assert not edit.isChecked()
    window.header.buttons["evaluate"].setFocus()
    press(Qt.Key.Key_Return)
    assert window.project.step == "evaluate"
    seen, menu = [], space.evaluate_page.export.menu()
    menu.aboutToShow.connect(lambda: (seen.append(menu), QTimer.singleShot(0, menu.close)))
    space.evaluate_page.export.setEnabled(True)
    space.evaluate_page.export.setFocus()
    press(Qt.Key.Key_Return)  # in the middle
    assert seen == [menu]
    space.evaluate_page.runs.setFocus()
    press(Qt.Key.Key_Return)  # not a button
    assert window.project.step == "evaluate"


def test_the_wheel_scrolls_a_panel_and_changes_nothing_in_it(opened, wait):
    """What ran under the pointer while the settings were scrolled took another value, unseen."""
    window, space = opened, opened.workspace
    panel = space.train_panel
    click(window.header.buttons["synthetic"])
    wait(lambda: panel.form.ready)
    bar = panel.findChild(QScrollArea).verticalScrollBar()
    for box in (panel.device, panel.seed, panel.preset, panel.camera_like):
        before, options = bar.value(), dict(window.project.options)
        box.setFocus()  # even where it was used just before
        turn_wheel(box)
        assert window.project.options == options
        assert (panel.device.currentText(), panel.seed.value()) == ("auto", 0)
        assert bar.value() > before or before == bar.maximum()
        bar.setValue(0)
    panel.clearFocus()
    turn_wheel(panel.seed)
    assert at() is not panel.seed
    others = (space.pose_panel.numbers.boxes["x"], space.track_panel.focal_error)
    values = [box.value() for box in others]
    for box in others:
        turn_wheel(box)
    assert [box.value() for box in others] == values


def turn_wheel(box: QWidget) -> None:
    """One notch towards the user, with the pointer over `box`."""
    place = QPointF(box.rect().center())
    QApplication.sendEvent(box, QWheelEvent(
        place, QPointF(box.mapToGlobal(box.rect().center())), QPoint(), QPoint(0, -120),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase,
        False,
    ))  # fmt: skip
