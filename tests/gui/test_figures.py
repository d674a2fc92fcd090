"""Figures that can be read: health in its units, scores against the start, frames by one number."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import time
from importlib.util import find_spec

import numpy as np
import pytest
from hands import answer, click, click_cell, click_item, drop, name_file
from PySide6.QtCore import QEvent, QObject, QPoint, Qt
from PySide6.QtGui import QFont, QFontMetrics
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from tracked_block import pose_at

from self6d.runs.folder import RunFolder
from studio.curves.run_curves import RunCurves
from studio.curves.view import CurvesView
from studio.engine.types import PoseData
from studio.shell.wiring import rerun_export
from studio.toolkit.progress import Bar
from studio.toolkit.theme import small_font, theme
from studio.views.results import BAR, CHANGE, MEASURES, ResultsTable

pytestmark = pytest.mark.gui


def test_health_is_small_multiples_with_units_and_one_cursor(qtbot):
    view = CurvesView()
    qtbot.addWidget(view)
    view.resize(700, 300)
    curves = RunCurves("/runs/a", checkpoints=[0, 100])
    steps = np.arange(0, 101, 10)
    for name, values in (("depth_gap_m", 0.012 - 0.0001 * steps), ("trust", steps / 200)):
        curves.extend(f"health/{name}", steps, values)
    curves.extend("loss/total", steps, 1.0 + steps)
    view.show_run(curves)
    view.show()
    qtbot.waitExposed(view)
    assert view.plot.isVisible()
    assert not view.multiples.isVisible()
    view.groups.setFocus()
    QTest.keyClicks(view.groups, "h")
    view.groups.activated.emit(view.groups.currentIndex())
    small = view.multiples
    assert small.isVisible()
    assert not view.plot.isVisible()
    assert small.text_of("depth_gap_m") == "depth gap  2.0 mm"  # newest, not metres
    assert small.text_of("trust") == "agreement  50 %"
    # the scale beside a plot keeps clear of the next one: it touched it
    free = small.area_of("trust").left() - small.area_of("depth_gap_m").right()
    assert free >= QFontMetrics(small_font()).horizontalAdvance("17.2 mm") + 12
    before = small.grab().toImage()
    area = small.area_of("trust")
    middle = QPoint(round(area.center().x()), round(area.center().y()))
    QTest.mouseMove(small, middle + QPoint(3, 0))
    QTest.mouseMove(small, middle)
    qtbot.waitUntil(lambda: view.readout.text() == "step 50")
    assert small.text_of("depth_gap_m") == "depth gap  7.0 mm"  # the cursor is one for all
    assert small.grab().toImage() != before
    clicked = []
    view.checkpointClicked.connect(lambda *what: clicked.append(what))
    QTest.mouseClick(
        small, Qt.MouseButton.LeftButton, pos=QPoint(round(area.right()) - 1, middle.y())
    )
    QTest.mouseClick(small, Qt.MouseButton.LeftButton, pos=middle)
    assert clicked == [("/runs/a", 100)]
    # the marks at both ends are whole: their outer halves were cut off
    foot, accent = round(area.bottom()) - 5, theme.colour("accent").name()
    picture = small.grab().toImage()
    for step in (0, 100):
        x = small._x_of(step, area)
        for side in (-2, 2):
            assert picture.pixelColor(round(x) + side, foot).name() == accent


@pytest.fixture
def posed_block(open_studio, block_recording, wait):
    """The block's recording with a pose on the third frame."""
    window = open_studio(block_recording)
    project = window.project
    wait(lambda: project.models and window.director.frame is not None)
    at = pose_at(2, ())
    project.put_poses(2, [PoseData(project.models[0].object_id, at.R_m2c, at.t_m2c)], "edited")
    return window


class Paints(QObject):
    """Counts how often a widget is painted."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        self.count += event.type() == QEvent.Type.Paint
        return False


def test_a_bar_rests_once_it_knows_how_far_it_is(qtbot):
    bar = Bar()
    qtbot.addWidget(bar)
    bar.resize(200, 8)
    bar.setRange(0, 0)
    bar.show()
    qtbot.waitExposed(bar)
    paints = Paints(bar)
    qtbot.wait(700)
    assert 2 <= paints.count <= 5  # it moves; Qt's own does so 30 times a second, for ever
    bar.setRange(0, 4)
    bar.setValue(1)
    qtbot.wait(100)
    paints.count = 0
    qtbot.wait(400)
    assert paints.count == 0
    row = bar.grab().toImage()
    accent, ground = theme.colour("accent"), theme.colour("raised")
    assert [row.pixelColor(x, 4) for x in (20, 45, 55, 180)] == [accent, accent, ground, ground]


def scores(add: float, degrees: float) -> dict:
    numbers = {"recall_10": add, "rotation_deg": degrees}
    worst = {"object_id": 1, "scene_id": 1, "image_id": 5, "add_m": None, "diameter_m": 0.1}
    return {
        "label": f"run {add}", "mean": numbers, "instances": [worst],
        "objects": [{"object_id": 1, "name": "flask", **numbers}],
    }  # fmt: skip


def test_scores_say_how_far_they_moved_from_the_start(qtbot):
    table = ResultsTable()
    qtbot.addWidget(table)
    table.show_runs([scores(0.2, 30.0), scores(0.65, 34.0), scores(0.2, 30.0)],
                    ["before", "after", "other"], 0)  # fmt: skip
    cells = [table.item(line, column) for column in (2, 3) for line in range(3)]
    assert [table.item(line, 1).text() for line in range(3)] == ["before", "after", "other"]
    names = lambda: [table.item(line, 0).text() for line in range(6)]  # noqa: E731
    assert names() == ["mean"] * 3 + ["flask"] * 3  # in sight without scrolling
    for order in Qt.SortOrder:
        table.sortByColumn(2, order)
        assert names() == ["mean"] * 3 + ["flask"] * 3
    table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    assert [cell.text() for cell in cells] == [
        "20.0", "65.0\n(+45.0)", "20.0\n(=)", "30.0", "34.0\n(+4.0)", "30.0\n(=)",
    ]  # fmt: skip
    assert [cell.data(CHANGE) for cell in cells] == [None, "good", None, None, "bad", None]
    assert cells[1].data(BAR) == pytest.approx(0.65)  # of 100 %
    assert cells[3].data(BAR) == pytest.approx(30 / 34)  # of the worst of its kind


def test_scores_of_four_runs_fit_beside_the_list_of_runs(qtbot):
    """All measures, long names: at 1280 pixels the table is 786 wide."""
    table = ResultsTable()
    qtbot.addWidget(table)
    table.resize(786, 380)
    run = scores(0.25, 30.0)
    for row in (run["mean"], *run["objects"]):
        row |= {m.key: 0.988 if m.scale == 100 else 123.4 for m in MEASURES}
    run["objects"][0]["name"] = "green-watering-can-with-a-long-spout"
    better = {**run, "objects": [{**run["objects"][0], "recall_10": 0.1, "rotation_deg": 1.5}]}
    names = [f"a-recording-of-mine-adapt-{k:02d}" for k in range(4)]
    table.show_runs([run, better, run, better], names, 0)
    table.show()
    qtbot.waitExposed(table)
    assert table.horizontalScrollBar().maximum() == 0
    numbers = [(line, column) for line in range(table.rowCount()) for column in range(2, 9)]
    for line, column in numbers:
        cell = table.item(line, column)
        metrics = QFontMetrics(cell.font())
        needed = max(map(metrics.horizontalAdvance, cell.text().split("\n")))
        assert needed <= table.columnWidth(column) - 8, cell.text()


def test_headings_are_whole_at_scale_2(opened, wait, tmp_path, monkeypatch):
    """On 1080p they began with "ask IoU"; and what was never begun deletes nothing."""
    window, page = opened, opened.workspace.evaluate_page
    (tmp_path / "mine.txt").touch()
    monkeypatch.chdir(tmp_path)
    window.showNormal()
    window.resize(960, 540)
    window.show_step("evaluate")
    page._end()  # of an evaluation that was never begun
    assert (tmp_path / "mine.txt").exists()
    page.results = [scores(0.2, 30.0)]
    page.table.show_runs(page.results, ["one"])
    page._refresh()
    wait(lambda: page.table.isVisible())
    header = page.table.horizontalHeader()
    for column in (c for c in range(header.count()) if not header.isSectionHidden(c)):
        text = page.table.horizontalHeaderItem(column).text()
        font = header.font()
        font.setPixelSize(12)
        font.setWeight(QFont.Weight.DemiBold)
        needed = max(map(QFontMetrics(font).horizontalAdvance, text.split("\n")))
        assert needed <= header.sectionSize(column) - 8, text


def test_evaluation_can_be_cancelled_and_its_frames_are_seen(opened, trained, wait):
    window, page = opened, opened.workspace.evaluate_page
    window.opener.open_run(trained)
    wait(lambda: trained in window.project.known)
    click(window.header.buttons["evaluate"])
    assert not page.stop.isVisible()
    click(page.copy_button)
    assert window.banner.isVisible()
    told = "In the clipboard: the command that scores stage1."
    assert window.banner.text.text() == told
    assert QApplication.clipboard().text().startswith("self6d-studio evaluate ")
    told = []
    page.failed.connect(told.append)
    click(page.go)
    wait(lambda: page.stop.isVisible())
    os.kill(page.engine.pid, signal.SIGSTOP)  # else a fast machine is done before it is asked
    try:
        asked = []
        answer("stay", asked.append)
        assert not window.close()  # it would be lost
        assert asked == ["Work is under way"]
        click(page.stop)
    finally:
        os.kill(page.engine.pid, signal.SIGCONT)
    wait(lambda: not page._busy)
    assert page.results == []
    assert told == []  # it was asked for
    assert not page._stop_file.parent.exists()

    page._on_results(str(window.project.recording.root), [scores(0.2, 30.0)], [trained])
    click_cell(page.table, 0, 2)
    index = window.project.recording.keys.index((1, 5))
    assert page.worst.item(0).text() == f"flask  frame {index + 1}: not found"
    wait(lambda: not page.worst.item(0).icon().isNull())
    click_item(page.worst, 0)
    assert window.project.frame_index == index
    view = window.workspace.stage.frame_view
    wait(lambda: view.readout.text().startswith(f"frame {index + 1} of "))
    assert "is image 5 on disk" in view.readout.text()


def test_scores_name_their_step_and_say_when_a_run_has_learned_on(opened, trained, tmp_path, wait):
    """A run that was resumed after its evaluation stood there with the scores of before."""
    window, page = opened, opened.workspace.evaluate_page
    after = shutil.copytree(trained, tmp_path / "after")
    told = {**RunFolder.open(after).info["provenance"], "from_run": str(trained)}
    RunFolder.open(after).update(kind="selfsup", provenance=told, created=time.time())
    for run in (trained, after):
        window.project.add_run(run)
    click(window.header.buttons["evaluate"])
    click(page.go)
    wait(lambda: page.evaluated_runs == [trained, after])
    assert [page.table.item(line, 1).text() for line in range(2)] == [
        "before\nstep 2", "after\nstep 2",
    ]  # fmt: skip
    click_cell(page.table, 1, 2)
    assert page.worst_title.text().startswith("all objects by after at step 2;")
    assert page.is_scored(after)
    assert not page.remarks.isVisible()
    for file in (after / "checkpoints").glob("step_00000002.*"):
        shutil.copy(file, file.with_stem("step_00000009"))
    (after / "checkpoints" / "best.json").unlink(missing_ok=True)
    window.project.add_run(after)
    assert "after has learned on since, to step 9" in page.remarks.text()
    assert page.remarks.isVisible()
    assert not page.is_scored(after)


def test_the_large_3d_view_keeps_the_object(opened, wait):
    window, stage = opened, opened.workspace.stage
    click(window.header.buttons["selfsup"])
    stage.show_page("frames")
    index = window.project.recording.splits["eval"][0]
    window.project.select_frame(index)
    wait(lambda: window.director.frame.index == index)
    window.project.put_poses(index, list(window.director.frame.truth), "edited")
    cloud, before = stage.cloud_view, stage.cloud_view.width()
    wait(lambda: cloud.cloud is not None and len(cloud.cloud.model))
    click(cloud.large)
    assert not stage.left.isVisible()
    assert not window.workspace.docks[2].isVisible()
    wait(lambda: cloud.width() > 2 * before)
    name = window.project.model(window.project.object_id).name
    assert cloud.legend.text().startswith(f"{name}: frame {index + 1}")
    other = next(m for m in window.project.models if m.object_id != window.project.object_id)
    window.project.select_object(other.object_id)
    wait(lambda: cloud.legend.text().startswith(other.name))
    click(cloud.large)
    assert stage.left.isVisible()
    assert window.workspace.docks[2].isVisible()


def test_a_start_is_the_run_that_others_began_from(tmp_path, opened, trained):
    after = RunFolder.create(tmp_path / "after", "selfsup", {}, {"from_run": str(trained)}).path
    page = opened.workspace.evaluate_page
    page.evaluated_runs = [after, trained]
    assert page._start() == 1
    page.evaluated_runs = [after]
    assert page._start() is None


def test_the_session_goes_to_rerun(posed_block, trained, tmp_path, monkeypatch, wait):
    """Where rerun-sdk is installed a file, else what to install: before a name is asked for."""
    window, out, asked = posed_block, tmp_path / "session", []
    monkeypatch.setattr(rerun_export, "new_file", lambda *_: asked.append(1) or out)
    told = window.workspace.rerun.layers()
    assert list(told) == ["current poses"]  # the truth is not among them
    assert list(told["current poses"]) == [2]
    for folder in (tmp_path / "a", tmp_path / "b"):
        shutil.copytree(trained, folder / "run")
        window.project.add_run(folder / "run")
    named = {"run": str(tmp_path / "a" / "run"), "run-2": str(tmp_path / "b" / "run")}
    assert window.workspace.rerun.runs() == named
    window.actions_registry["file.rerun"].trigger()
    wait(lambda: window.banner.isVisible() and not window.workspace.rerun.unfinished())
    said = window.banner.text.text()
    if find_spec("rerun") is None:
        assert 'pip install "self6d-studio[rerun]"' in said
        assert not asked
        assert not out.with_suffix(".rrd").exists()
    else:
        assert "session.rrd" in said
        assert out.with_suffix(".rrd").stat().st_size > 10_000
        assert b"/curves/run-2/loss/total" in out.with_suffix(".rrd").read_bytes()


def test_what_is_saved_are_the_scores_that_are_shown(opened, trained, tmp_path, wait):
    """Frames chosen for the next evaluation were those of the saved table, and nothing was said."""
    window, page = opened, opened.workspace.evaluate_page
    drop(window, trained)
    wait(lambda: page.runs.count() == 1)
    click(window.header.buttons["evaluate"])
    assert page.split.currentData() == "eval"
    click(page.go)
    wait(lambda: page.results and page.unfinished() == [])
    assert page.scores_title.text() == "Scores on eval"
    other = next(n for n in window.project.recording.splits if n != "eval")
    page.split.setCurrentIndex(page.split.findData(other))
    assert page.scores_title.text() == "Scores on eval"
    file, seen = tmp_path / "scores.csv", []
    page.said.connect(lambda level, text: seen.append((level, text)))
    page.failed.connect(lambda failure: seen.append(failure.what))
    name_file(file.with_suffix(""))
    next(a for a in page.export.menu().actions() if "CSV" in a.text()).trigger()
    wait(lambda: seen)
    assert seen == [("good", f"Written: {file}")]
    shown = {o["object_id"]: o["targets"] for o in page.results[0]["objects"]}
    rows = list(csv.DictReader(file.read_text().splitlines()))
    saved = {int(r["object_id"]): int(r["targets"]) for r in rows if r["object_id"]}
    assert saved == shown
    assert not page.progress.isVisible()
