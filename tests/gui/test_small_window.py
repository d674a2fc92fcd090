"""A window of 960 x 540, as 1920 x 1080 is at scale 2: nothing is cut, nothing lies on another."""

import shutil
import subprocess
import time
from itertools import pairwise

import numpy as np
import pytest
from hands import click, drop
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QFontMetrics, QHelpEvent, QImage, QPainter, QPixmap
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QCheckBox, QScrollArea, QStyle, QStyleOptionButton, QToolTip

from self6d.events import Scalars
from self6d.runs.folder import RunFolder
from studio.curves.multiples import SmallMultiples
from studio.curves.run_curves import RunCurves
from studio.curves.view import CurvesView
from studio.toolkit.theme import small_font
from studio.toolkit.widgets import Choice
from studio.views.captions import notes_that_fit, paint_depth_scale, paint_note

pytestmark = pytest.mark.gui


def test_nothing_is_cut_in_a_small_window(qapp, opened, trained, wait):
    """At scale 2 half a sentence of stage 2 and the last tab were, names lay over the curves."""
    window, curves = opened, opened.workspace.curves
    drop(window, trained)
    wait(lambda: curves.terms() and curves.legend.count())
    assert curves.legend.itemAt(0).widget().isVisible()
    window.showNormal()
    window.resize(960, 540)
    qapp.processEvents()
    for step in ("data", "synthetic", "selfsup", "evaluate", "export"):
        window.show_step(step)
        for i in range(window.workspace.inspector.count()):
            window.workspace.inspector.setCurrentIndex(i)
            qapp.processEvents()
            for area in (a for a in window.findChildren(QScrollArea) if a.isVisible()):
                cut = area.widget().width() - area.viewport().width()
                assert cut <= 0, f"{cut} pixels of {area.widget()} cannot be seen in {step}, {i}"
            tabs = window.workspace.inspector.tabBar()
            assert tabs.sizeHint().width() <= tabs.width(), step
    box = window.workspace.xray_panel.findChild(QCheckBox)
    left = []  # of its words, without and with the focus: they ended outside of it
    for state in (QStyle.StateFlag.State_None, QStyle.StateFlag.State_HasFocus):
        option = QStyleOptionButton()
        box.initStyleOption(option)
        option.state |= state
        words = QStyle.SubElement.SE_CheckBoxContents
        left.append(box.style().subElementRect(words, option, box).left())
    assert left[0] == left[1]
    window.show_step("data")
    qapp.processEvents()
    named = [curves.legend.itemAt(i).widget() for i in range(curves.legend.count())]
    assert not any(n.isVisible() and n.geometry().intersects(curves.plot.geometry()) for n in named)
    tree = window.workspace.tree.tree
    needed = max(tree.fontMetrics().horizontalAdvance(m.name) for m in window.project.models)
    assert tree.columnWidth(0) - needed >= 32  # its icon and margins


def test_a_low_window_leaves_picture_curves_and_names_their_room(qapp, open_studio, trained, sample,
                                                                 tmp_path, wait):  # fmt: skip
    """1920 x 1080 at scale 2: a picture 70 pixels high, labels upon labels, half of a name."""
    long = tmp_path / f"my-{'very-' * 6}long-recording-stage1-07"
    shutil.copytree(trained, long)
    window = open_studio()
    window.showNormal()
    window.resize(960, 540)
    window.opener.open_paths([sample])
    wait(lambda: window.project.models and window.director.frame is not None)
    space, curves = window.workspace, window.workspace.curves
    drop(window, long)
    wait(lambda: curves.terms() and long in window.project.known)
    window.show_step("selfsup")
    wait(lambda: space.bottom.height() < 130)
    qapp.processEvents()
    assert space.stage.frame_view.canvas.height() >= 80

    # what steers the curves stands beside the tabs, and only with the curves
    assert curves.plot.isVisible()
    assert curves.plot.height() >= 50
    assert curves.log_scale.visibleRegion().boundingRect() == curves.log_scale.rect()
    click(curves.log_scale)
    assert not curves.log_scale.isChecked()
    click(curves.log_scale)
    plot = curves.plot.viewport()
    for at in (QPoint(90, 20), QPoint(92, 20)):
        QTest.mouseMove(plot, plot.rect().topLeft() + at)
    wait(curves._cursor.isVisible)
    wait(lambda: "step " in QToolTip.text())
    assert QToolTip.text().startswith("my-very-")  # the legend has no room
    QTest.mouseMove(window.header, window.header.rect().center())
    wait(lambda: not curves._cursor.isVisible())  # it stood where the mouse had been
    space.bottom.setCurrentIndex(1)
    assert not curves.log_scale.isVisible()
    space.bottom.setCurrentIndex(0)
    assert curves.log_scale.isVisible()
    window.resize(1280, 800)
    window.resizeDocks(space.docks[2:], [260], Qt.Orientation.Vertical)
    wait(lambda: curves.isAncestorOf(curves.log_scale))
    window.resize(960, 540)

    box = space.adapt_panel.start
    assert box.currentData() == str(long)
    at = box.rect().center()
    qapp.sendEvent(box, QHelpEvent(QEvent.Type.ToolTip, at, box.mapToGlobal(at)))
    wait(lambda: QToolTip.text().startswith(long.name))
    assert box._fitted().startswith("my-")
    assert box._fitted().endswith("07")
    for one in (b for b in window.findChildren(Choice) if b.isVisible()):
        wide = one.fontMetrics().horizontalAdvance(one._fitted())
        assert wide <= one.width() - 28, one._fitted()  # its arrow and margins


@pytest.mark.parametrize("high", [40, 60, 90, 200])
def test_labels_of_values_never_lie_on_one_another(qtbot, high):
    view = CurvesView()
    qtbot.addWidget(view)
    view.resize(500, high + 60)
    curves = RunCurves("/runs/a")
    steps = np.arange(0, 101, 10)
    for name, value in (("total", 1.3), ("mask", 0.11), ("lab", 0.32)):
        curves.extend(f"loss/{name}", steps, value + 0.001 * steps)
    view.show_run(curves)
    view.show()
    qtbot.waitExposed(view)
    axis = view.plot.getAxis("left")
    picture = QPixmap(500, high + 60)
    painter = QPainter(picture)
    _, _, texts = axis.generateDrawSpecs(painter)
    painter.end()
    places = sorted((rect for rect, _, _ in texts), key=lambda r: r.top())
    assert places
    assert all(a.bottom() <= b.top() + 2 for a, b in pairwise(places)), texts


@pytest.mark.skipif(shutil.which("openbox") is None, reason="no window manager to draw a frame")
def test_a_title_bar_does_not_push_the_bottom_bar_off_the_screen(qapp, open_studio, wait):
    """At 1280 x 800 half of the bottom bar stood below the screen."""
    manager = subprocess.Popen(["openbox", "--config-file", "/dev/null"], stderr=subprocess.DEVNULL)
    try:
        room = qapp.primaryScreen().availableGeometry()
        time.sleep(1.0)  # until it manages windows
        window = open_studio()
        wait(lambda: window.frameGeometry().height() > window.geometry().height(), 20)
        wait(lambda: room.contains(window.frameGeometry()), 20)
        bar = window.job_bar
        assert bar.isVisible()
        assert bar.mapToGlobal(bar.rect().bottomLeft()).y() <= room.bottom()
        window.close()
    finally:
        manager.terminate()
        manager.wait(10)


def test_captions_over_a_picture_never_lie_on_one_another(qapp):
    """In a low picture the note lay on the depth scale, and titles of small plots ran together."""

    def shaded(paint, height: int) -> np.ndarray:
        image = QImage(315, height, QImage.Format.Format_ARGB32)
        image.fill(0)
        painter = QPainter(image)
        paint(painter)
        painter.end()
        return np.asarray(image.constBits()).reshape(height, 315, 4)[..., 3] > 0

    notes = [(f"a note of its own, number {i}", "white") for i in range(5)]
    for height in range(72, 260):
        fitting = notes_that_fit(notes, height)
        above = shaded(
            lambda brush, told=fitting: [paint_note(brush, *n, line=i) for i, n in enumerate(told)],
            height,
        )
        scale = shaded(lambda brush, h=height: paint_depth_scale(brush, h, 100.0, 12.3), height)
        assert above.any()
        assert scale.any()
        assert not (above & scale).any(), height

    plots = SmallMultiples()
    plots.resize(420, 160)
    names, runs = ["mask_iou", "depth_gap_m", "trust", "strikes"], {}
    for number in range(5):
        runs[f"run {number}"] = curves = RunCurves(f"run {number}")
        for name in names:
            curves.extend(f"health/{name}", np.arange(5), np.linspace(0.1, 123.4, 5))
    plots.show_group("health", names, runs)
    areas = [plots.area_of(name) for name in plots.names]
    for (name, area), following in zip(zip(plots.names, areas), areas[1:]):
        title = plots.title_of(name, area)
        end = area.left() + QFontMetrics(small_font()).horizontalAdvance(title)
        assert following.top() > area.top() or end < following.left()


def test_runs_to_compare_are_told_apart_by_their_ends(opened, settings):
    """Of runs named after a long recording the list showed the beginning, which they share."""
    for kind in ("train", "adapt"):
        run = settings.runs_folder / f"{'a long name of a recording ' * 4}-{kind}-01"
        folder = RunFolder.create(run, kind, {}, {}).path
        (folder / "checkpoints" / "step_00000007.safetensors").touch()
        (folder / "checkpoints" / "step_00000007.json").write_text("{}")
        opened.project.add_run(run)
    opened.show_step("evaluate")
    runs = opened.workspace.evaluate_page.runs
    assert runs.count() == 2
    for index in range(2):
        assert runs.visualItemRect(runs.item(index)).right() <= runs.viewport().rect().right()
        assert runs.textElideMode() == Qt.TextElideMode.ElideMiddle
    assert runs.item(0).toolTip().startswith(("before: ", "after: "))


def test_many_names_leave_the_curves_their_room(qtbot):
    """At 1024 x 700 five lines of names were as high as the plot."""
    view = CurvesView()
    qtbot.addWidget(view)
    view.resize(490, 192)
    view.show()
    qtbot.waitExposed(view)
    terms = ("total", "mask", "ab", "ms_ssim", "perceptual", "geometry", "box", "detector", "class")
    for run in ("/runs/kitchen-stage2-01", "/runs/kitchen-stage2-02"):
        values = {f"loss/{term}": 1.0 + n for n, term in enumerate(terms)}
        view.add_scalars(run, [Scalars(i, values) for i in range(9)])
    legend = view.legend

    def shown() -> list[str]:
        qtbot.wait(10)
        seen = [entry for entry in (*legend.runs, *legend.terms) if entry.isVisible()]
        assert len({entry.y() for entry in seen}) <= 2
        assert not any(entry.geometry().intersects(view.plot.geometry()) for entry in seen)
        return [entry.name for entry in seen]

    assert shown()[:3] == ["kitchen-stage2-01", "kitchen-stage2-02", "total"]
    assert view.plot.height() >= 90
    left = legend.more.menu().actions()
    assert legend.more.text() == f"+{len(left)}"
    assert len(shown()) + len(left) == 2 + len(terms)
    assert left[-1].text() == "detector"
    left[-1].trigger()  # switched off there as in the legend
    assert view._hidden_terms == {"detector"}
    assert not legend.more.menu().actions()[-1].isChecked()
    view.resize(1400, 192)
    assert len(shown()) == 2 + len(terms)
    assert legend.more.isHidden()
