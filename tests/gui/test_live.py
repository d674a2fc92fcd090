"""The live page: a network on a recording in a process of its own, recorded and opened."""

from __future__ import annotations

import shutil
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QPixmap
from PySide6.QtTest import QTest

from self6d.datasets import open_dataset
from studio.live.feed import Message, Unpacker, packed
from studio.live.page import LivePage


def test_messages_are_whole_however_the_bytes_come() -> None:
    stream = packed({"image": 0}, b"picture") + packed({"note": "lens"}) + packed({"image": 1})
    unpack, got = Unpacker(), []
    for i in range(0, len(stream), 3):
        got += unpack(stream[i : i + 3])
    assert [m.said for m in got] == [{"image": 0}, {"note": "lens"}, {"image": 1}]
    assert [m.jpeg for m in got] == [b"picture", b"", b""]


def _page(window, trained: Path, wait) -> LivePage:
    window.project.add_run(trained)
    window.actions_registry.entries["tools.live"].action.trigger()
    page = window.choosers._live
    wait(lambda: page.network.currentData() == str(trained))
    return page


def _press(page: LivePage) -> None:
    QTest.mouseClick(page.start_button, Qt.MouseButton.LeftButton)


def test_a_recording_is_looked_at_recorded_and_opened(opened, trained, sample, wait) -> None:
    page = _page(opened, trained, wait)
    assert page.isVisible()
    assert page.start_button.isEnabled()
    page.source.setText(str(sample))
    _press(page)
    page._show(Message({"note": "Poses are the network's alone."}, b""))
    wait(lambda: not page.running)
    # what it said of itself stays, and that it is over is said as well
    assert page.told.text() == "Poses are the network's alone. The source has ended."
    page.keep.setChecked(True)
    _press(page)
    assert page.start_button.text() == "Stop"
    assert not page.source.isEnabled()
    wait(lambda: not page.running)
    frames = len(open_dataset(sample))
    assert page.objects.text().startswith(f"image {frames - 1}, ")
    assert not page.picture.pixmap().isNull()
    assert "Recorded as" in page.told.text()
    folder = page._into
    assert len(list((folder / "rgb").iterdir())) == frames
    QTest.mouseClick(page.open_button, Qt.MouseButton.LeftButton)
    wait(lambda: opened.project.recording_path == folder)
    page.close()


def test_stop_ends_it_and_what_was_recorded_is_whole(opened, trained, sample, wait) -> None:
    page = _page(opened, trained, wait)
    page.source.setText(str(sample))
    _press(page)
    process = page._process
    page.close()  # as when the window goes
    assert process is not None
    assert not page.running
    assert page.start_button.text() == "Start"


def test_what_is_wrong_is_one_line_on_the_page(opened, trained, wait, tmp_path) -> None:
    page = _page(opened, trained, wait)
    page._pixmap = QPixmap(8, 8)  # of a source before
    page._paint()
    page.source.setText(str(tmp_path / "no.mp4"))
    _press(page)
    assert page.picture.pixmap().isNull()
    assert page.told.objectName() == "bad"
    assert not page.running  # said at once: nothing was loaded for it
    gone = f"{tmp_path / 'no.mp4'}: there is no such video, folder or bag. Check the path."
    assert page.told.text() == gone
    for stopped in (False, True):
        page.source.setText("987")  # no such camera
        _press(page)
        wait(lambda: page.told.objectName() == "bad")
        if stopped and page.running:
            page.start_button.click()  # it was covered by what OpenCV writes
        wait(lambda: not page.running)
        assert page.told.text() == "camera 987 cannot be opened. Check Source."  # no flag here
    page.close()


def test_a_line_that_comes_under_the_picture_cuts_nothing_of_it(opened, trained, wait) -> None:
    page = _page(opened, trained, wait)
    page.show()
    page._pixmap = QPixmap(8, 64)  # high: it fills the height
    page._paint()
    page.picture.resize(page.picture.width(), page.picture.height() - 30)
    wait(lambda: page.picture.pixmap().height() == page.picture.height())
    page.close()


def test_an_image_without_a_camera_file_is_looked_at_and_said(opened, trained, sample, wait,
                                                              tmp_path) -> None:  # fmt: skip
    """It was refused although the page says that the network's own camera is taken."""
    page = _page(opened, trained, wait)
    image = next((sample / "test" / "000001" / "rgb").iterdir())
    page.source.setText(str(shutil.copy(image, tmp_path)))
    _press(page)
    wait(lambda: not page.running)
    assert page.told.objectName() == "small"
    assert page.told.text().endswith("The source has ended.")
    page._show(Message({"note": "the images are of another height"}, b""))
    told = page.told.text()
    assert "No file stands beside Camera: the camera is taken for that" in told
    assert told.endswith(" The images are of another height.")  # and what was said before stays
    assert page.objects.text().startswith("image 0, ")
    page.close()


def test_without_a_network_it_says_what_to_do(open_studio, wait) -> None:
    window = open_studio()
    window.actions_registry.entries["tools.live"].action.trigger()
    page = window.choosers._live
    assert not page.start_button.isEnabled()
    assert "Train or open a network first" in page.told.text()
    page.close()
