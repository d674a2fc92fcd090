"""Layers: any two networks, at any checkpoint, over every frame, in picture and cloud alike."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hands import click, fill
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest

from studio.controllers import filming
from studio.engine.types import PoseData
from studio.model.layers import GREEN, PALETTE, POSES, TRUTH, Layer, Network

pytestmark = pytest.mark.gui


@pytest.fixture
def compared(opened, trained, wait):
    """A labelled frame with the truth 15 mm off at work, and the truth itself as layers."""
    window, project = opened, opened.project
    index = project.recording.splits["eval"][0]
    project.select_frame(index)
    wait(lambda: window.director.frame.index == index)
    truth = window.director.frame.truth
    project.select_object(truth[0].object_id)
    moved = [PoseData(p.object_id, p.R, p.t + np.array([0.015, 0, 0])) for p in truth]
    project.put_poses(index, moved, "edited")
    click(window.header.buttons["selfsup"])
    space = window.workspace
    space.inspector.setCurrentWidget(space.layering.panel)
    view = space.stage.frame_view
    click(space.layering.panel.rows[TRUTH].eye)
    wait(lambda: view.rendering(POSES) is not None and view.rendering(TRUTH) is not None)
    wait(lambda: set(space.stage.cloud_view.clouds) == {POSES, TRUTH})
    return window


def picture(view) -> bytes:
    return bytes(view.canvas.grab().toImage().constBits())


def test_eye_colour_and_opacity_rule_picture_and_cloud(compared, wait):
    stage, rows = compared.workspace.stage, compared.workspace.layering.panel.rows
    view, cloud = stage.frame_view, stage.cloud_view
    assert view.show_truth.isChecked()
    assert "depth error" in cloud.legend.text()
    assert cloud.legend.text().count("●") == 2
    seen = {picture(view)}
    QTest.keyClick(rows[TRUTH].opacity, Qt.Key.Key_End)
    assert compared.layers[TRUTH].opacity == 1
    seen.add(picture(view))
    rows[TRUTH].colour.menu().actions()[5].trigger()
    seen.add(picture(view))
    assert compared.layers[TRUTH].colour in cloud.legend.text()
    click(rows[POSES].eye)
    seen.add(picture(view))
    assert len(seen) == 4
    wait(lambda: set(cloud.clouds) == {TRUTH})
    assert "the truth" in cloud.legend.text()
    click(view.show_truth)
    assert not compared.layers[TRUTH].shown
    wait(lambda: "no pose yet" in cloud.legend.text() and set(cloud.clouds) == {""})


def test_wipe_and_flicker_go_between_the_two(compared, qtbot, wait):
    stage = compared.workspace.stage
    view, cloud, canvas = stage.frame_view, stage.cloud_view, stage.frame_view.canvas
    assert "current poses" in compared.workspace.layering.panel.pair.text()
    click(view.modes.button("wipe"))
    places, points = set(), []
    for share in (0.02, 0.98):
        start = canvas.to_widget_point(QPointF(view.look.wipe_at * 128, 20)).toPoint()
        end = canvas.to_widget_point(QPointF(share * 128, 20)).toPoint()
        QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=start)
        QTest.mouseMove(canvas, end)
        QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=end)
        assert view.look.wipe_at == pytest.approx(share, abs=0.02)
        places.add(picture(view))
        points.append({key: len(cloud._points(key, part)[0]) for key, part in cloud._visible()})
    assert len(places) == 2
    assert points[0][TRUTH] < points[0][POSES]  # the truth is left of the line, the other right
    assert points[1][TRUTH] > points[1][POSES]
    click(view.modes.button("flicker"))
    shown = set()
    for _ in range(2):
        turn = view.look.turn
        assert [la.key for la in view.painter.visible()] == [(TRUTH, POSES)[turn]]
        assert [key for key, _ in cloud._visible()] == [(TRUTH, POSES)[turn]]
        shown.add(picture(view))
        wait(lambda turn=turn: view.look.turn != turn)
    assert len(shown) == 2
    click(view.modes.button("overlay"))
    assert not view._flicker.isActive()


def test_a_network_is_a_layer_on_every_frame(opened, trained, wait):
    window, space = opened, opened.workspace
    window.opener.open_run(trained)
    wait(lambda: trained in window.project.known)
    click(window.header.buttons["selfsup"])
    panel = space.layering.panel
    space.inspector.setCurrentWidget(panel)
    click(panel.add)
    QTest.keyClick(panel.step, Qt.Key.Key_Down)
    click(panel.add)
    best, second = window.layers.networks()
    assert (best, second.step) == (Network(trained), 2)
    count = len(window.project.recording)
    wait(lambda: window.predictions.count(best) == window.predictions.count(second) == count)
    note = space.stage.frame_view.notes[f"{trained} 2"]
    assert note.startswith("frame 1, stage1 at step 2")
    assert window.project.frame_poses() == []  # a layer does not touch the poses at work
    # colours have names, and none can be mistaken for the truth's; no labels, no silence
    offered = [[a.text() for a in panel.rows[key].colour.menu().actions()]
               for key in (f"{trained} None", TRUTH)]  # fmt: skip
    assert "green" not in offered[0]
    assert offered[1] == list(PALETTE.values())
    click(panel.rows[TRUTH].eye)
    assert space.stage.frame_view.told()[-1] == ("Truth: this frame has no labels", GREEN)
    named = panel.rows[f"{trained} None"].name
    room = named.fontMetrics().horizontalAdvance("mustard0-… its best")
    two = [Layer("", "", "", network=Network(Path(f"mustard0-{run}"))) for run in ("a-1", "b-1")]
    shown = {named.fontMetrics().elidedText(la.brief, named._elide, room) for la in two}
    assert len(shown) == 2, shown  # both were "mustard0-… its best"
    click(panel.rows[f"{trained} None"].remove)
    assert window.layers.networks() == [second]
    window.close_project()
    assert window.layers.networks() == []


def test_layers_settings_and_frame_are_there_after_a_restart(
    opened, open_studio, trained, tmp_path, wait
):
    window, space = opened, opened.workspace
    gone = tmp_path / "gone"
    shutil.copytree(trained, gone)
    for run in (gone, trained):
        window.opener.open_run(run)
        wait(lambda run=run: run in window.project.known)
    click(window.header.buttons["selfsup"])
    fill(space.adapt_panel.steps, "77")
    panel = space.layering.panel
    space.inspector.setCurrentWidget(panel)
    window.layers.add(Network(gone))
    window.layers.add(Network(trained, 2))
    key = f"{trained} 2"
    wait(lambda: panel.rows[key].eye.isVisible())
    panel.rows[key].colour.menu().actions()[4].trigger()
    QTest.keyClick(panel.rows[key].opacity, Qt.Key.Key_End)
    click(panel.rows[key].eye)
    click(panel.rows[TRUTH].eye)
    scrubber = space.stage.scrubber
    scrubber.setFocus()
    last, keys = len(window.project.recording) - 1, Qt.Key
    for pressed, index in (
        (keys.Key_End, last), (keys.Key_Left, last - 1), (keys.Key_PageUp, last - 11),
        (keys.Key_Home, 0), (keys.Key_Right, 1),
    ):  # fmt: skip
        QTest.keyClick(scrubber, pressed)
        assert window.project.frame_index == index
    before = {la.key: la for la in window.layers if la.network != Network(gone)}
    window.close()
    shutil.rmtree(gone)
    window = open_studio(restore=True)
    wait(lambda: window.banner.isVisible())
    assert "The layer gone at its best is left out: its run is gone." in window.banner.text.text()
    assert {la.key: la for la in window.layers} == before
    assert (before[key].opacity, before[key].shown) == (1, False)
    assert before[key].colour == list(PALETTE)[5]
    panel = window.workspace.layering.panel
    assert not panel.rows[key].eye.isChecked()
    assert panel.rows[TRUTH].eye.isChecked()
    assert window.project.frame_index == 1
    assert window.workspace.adapt_panel.steps.text() == "77"


def test_a_checkpoint_that_is_looked_through_stays_on_other_frames(opened, trained, wait):
    window, space = opened, opened.workspace
    window.opener.open_run(trained)
    wait(lambda: trained in window.project.known and space.curves.runs)
    space.curves.checkpointClicked.emit(str(trained), 2)
    wait(lambda: window.predictions.pinned == Network(trained, 2))
    assert space.curves.at == (str(trained), 2)
    click(space.stage.scrubber)
    index = window.project.frame_index
    assert index
    wait(lambda: window.predictions.poses(Network(trained, 2), index) is not None)
    found = window.predictions.poses(Network(trained, 2), index)
    assert window.project.frame_poses(index) == found
    window.workspace.answers.predict(trained)
    wait(lambda: window.predictions.pinned is None)
    assert space.curves.at == ("", None)


def test_the_film_is_what_the_picture_shows(compared, wait):
    window, panel = compared, compared.workspace.layering.panel
    window.banner.dismiss()
    click(window.workspace.stage.frame_view.show_box)
    click(panel.film)
    assert panel.progress.isVisible()
    assert panel.film_told.text() == f"0 of {len(window.project.recording)} frames, … left"
    wait(lambda: window.banner.isVisible())
    film = next((window.settings.runs_folder / "films").iterdir())
    assert str(film) in window.banner.text.text()
    reader = cv2.VideoCapture(str(film))
    frames = []
    while (got := reader.read())[0]:
        frames.append(got[1][..., ::-1].astype(int))
    assert len(frames) == len(window.project.recording)
    index, view = window.project.frame_index, window.workspace.stage.frame_view
    shown = view.painter
    notes = [(view.notes[la.key].partition(", ")[2], la.colour) for la in reversed(shown.shown)]
    still = filming.paint(shown, list(shown.shown), shown.pair, view.look, 1, notes)
    bare = window.director.frame.rgb.astype(int)
    painted = np.abs(still - bare).max(-1) > 40
    assert painted.sum() > 300
    off, nothing = (np.abs(frames[index] - other)[painted].mean() for other in (still, bare))
    assert off < 0.5 * nothing  # compressed
    click(panel.film)
    click(panel.film)  # cancelled: nothing of it stays
    wait(lambda: not window.worker.busy)
    assert list(film.parent.iterdir()) == [film]
