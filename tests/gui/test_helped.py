"""`Did it help?`: the verdict follows the frames, and the card opens on what changed most."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hands import click, drop
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QScrollArea

from self6d import jobs
from self6d.runs.folder import RunFolder
from studio.controllers import comparison
from studio.controllers.predictions import Predictions
from studio.engine import Engine
from studio.engine.types import JudgedFrame, JudgedPose, PoseData, TrackRow
from studio.jobs.run_info import read_run
from studio.model.layers import POSES, Layers
from studio.model.project import Project
from studio.model.verdict import BETTER, SAME, WORSE, compare
from studio.panels.helped_card import HelpedCard

pytestmark = pytest.mark.gui


def frame(index: int, *trusts: float, gap_m: float = 0.01, right: int = 0, labelled: int = 0):
    pose = PoseData(1, np.eye(3), np.array([0, 0, 1.0]))
    poses = tuple(JudgedPose(pose, t**0.5, t**0.5, gap_m, t) for t in trusts)
    return JudgedFrame(index, poses, right, labelled)


def test_the_verdict_needs_an_interval_on_one_side():
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.05, 0.05, 24)
    worse = {i: frame(i, 0.3 + n, gap_m=0.02, right=0, labelled=1) for i, n in enumerate(noise)}
    better = {i: frame(i, 0.6 - n, gap_m=0.01, right=1, labelled=1) for i, n in enumerate(noise)}
    up = compare(worse, better)
    assert up.headline.startswith("Yes")
    assert up.agreement.before == pytest.approx(np.mean([f.trust for f in worse.values()]))
    assert {m.name: m.verdict for m in up.measures} == {
        "Depth gap": BETTER, "Depth explained": BETTER, "Mask agreement": BETTER,
        "Found a frame": SAME,
    }  # fmt: skip
    assert (up.recall.before, up.recall.after, up.recall.verdict) == (0, 100, BETTER)
    down = compare(better, worse)
    assert down.headline.startswith("No:")
    assert down.measures[0].verdict == WORSE
    shuffled = {i: worse[int(j)] for i, j in enumerate(rng.permutation(24))}
    mixed = compare(worse, {i: replace(f, index=i) for i, f in shuffled.items()})
    assert mixed.agreement.verdict == SAME
    assert mixed.agreement.low < 0 < mixed.agreement.high

    fewer = {i: f if i % 2 else frame(i) for i, f in better.items()}  # half is found no more
    assert compare(better, fewer).headline.startswith("No:")
    assert compare(better, better | {3: frame(3, 0.0)}).most_changed == 3
    assert compare(better, {}) is None
    alone = compare({0: frame(0, 0.5)}, {0: frame(0, 0.9)})
    assert alone.agreement.verdict == SAME  # one frame proves nothing


def test_without_depth_no_measure_speaks_of_it():
    seen = {i: frame(i, 0.5) for i in range(3)}
    blind = {
        i: replace(f, poses=tuple(replace(p, depth_inliers=np.nan, depth_gap_m=np.nan)
                                  for p in f.poses))
        for i, f in seen.items()
    }  # fmt: skip
    said = compare(blind, blind)
    assert not any("depth" in (m.name + m.tip).lower() for m in (said.agreement, *said.measures))
    assert "depth" in compare(seen, seen).agreement.tip


def test_networks_that_find_nothing_are_said_to(qtbot, tmp_path):
    """The card said "No clear difference", and "+0.00 to +0.00" of each number."""
    empty = {i: frame(i, labelled=1) for i in range(8)}
    nothing = compare(empty, empty)
    assert [m.name for m in nothing.measures] == ["Found a frame"]
    assert nothing.headline == "Neither network finds anything in these frames."
    some = {i: frame(i, 0.5, labelled=1) for i in range(8)}
    assert compare(empty, some).headline.startswith("Yes")
    assert compare(some, some).headline == "No clear difference in these frames."

    project, engine = Project(), Engine()
    judged = comparison.Comparison(project, engine, Predictions(project, Layers(), engine))
    card = HelpedCard(judged)
    qtbot.addWidget(card)
    card.show()
    judged.before, judged.after, judged.verdict = tmp_path / "a", tmp_path / "b", nothing
    judged.judged = {judged.before: empty, judged.after: empty}
    judged.changed.emit()

    def told() -> list[str]:
        return [one.text() for one in card.findChildren(QLabel) if not one.isHidden()]

    qtbot.waitUntil(lambda: told().count("no change") == 3)  # agreement, found, right by labels
    assert nothing.headline in told()
    assert not [text for text in told() if "+0" in text]


@pytest.fixture(scope="module")
def adapted(trained, sample, tmp_path_factory):
    """The trained network after one step of stage 2."""
    adapted = tmp_path_factory.mktemp("helped") / "adapted"
    settings = {
        "adapt.detection_score": 0.0, "adapt.batch": 1, "adapt.region": 48, "loss.perceptual": 0.0,
        "adapt.refresh_every": 0, "adapt.health_frames": 1, "adapt.max_objects": 2,
        "adapt.pseudo": False,
    }  # fmt: skip
    jobs.adapt(sample, [sample / "models"], trained, out=adapted, preset="self6d-tiny", steps=1,
               overrides=settings, check=False)  # fmt: skip
    return adapted


def test_the_card_opens_on_what_changed_most(opened, trained, adapted, wait, monkeypatch):
    monkeypatch.setattr(comparison, "SAMPLE", 2)
    window, space = opened, opened.workspace
    card = space.helped.card
    window.opener.open_run(adapted)
    window.opener.open_run(trained)
    wait(lambda: window.project.run == trained)  # of which there is nothing to say
    click(window.header.buttons["selfsup"])
    space.bottom.setCurrentWidget(card)
    wait(lambda: card.go.isVisible())
    click(card.go)
    judged = space.helped.comparison
    wait(lambda: judged.verdict is not None)
    assert space.bottom.currentWidget() is card
    assert window.project.frame_index == judged.verdict.most_changed
    assert judged.verdict.frames == 4
    assert (
        "4 frames, labels in last row only: stage1 (step 2) → adapted (step 1)"
        in card.detail.text()
    )
    assert judged.verdict.recall is not None  # the eval frames have labels
    wait(lambda: not judged.busy)
    count = len(window.project.recording)
    assert card.worst.count() == count
    wait(lambda: not any(card.worst.item(i).icon().isNull() for i in range(count)))
    assert set(space.stage.scrubber._scores) == set(range(count))
    click(card.next)
    click(card.next)
    assert window.project.frame_index == judged.worst()[1]
    click(card.previous)
    assert window.project.frame_index == judged.worst()[0]
    # the list in another order
    card.order.setFocus()
    QTest.keyClick(card.order, Qt.Key.Key_Down)
    assert card.worst.item(0).text().startswith(f"frame {judged.worst()[-1] + 1}\nagrees ")
    QTest.keyClick(card.order, Qt.Key.Key_Down)
    changed = [card.worst.item(i).text().partition("\n") for i in range(card.worst.count())]
    assert changed[0][0] == f"frame {judged.verdict.most_changed + 1}"
    by = [abs(float(b) - float(a)) for a, _, b in (told.partition(" → ") for *_, told in changed)]
    assert len(by) == 4
    assert by == sorted(by, reverse=True)
    window.close_project()
    assert judged.verdict is None
    assert "After stage 2" in card.headline.text()


def test_asked_for_on_data_it_opens_there(opened, trained, adapted, wait, monkeypatch):
    monkeypatch.setattr(comparison, "SAMPLE", 1)
    card, judged = opened.workspace.helped.card, opened.workspace.helped.comparison
    opened.opener.open_run(trained)
    opened.opener.open_run(adapted)
    click(opened.header.buttons["data"])
    opened.project.select_frame(len(opened.project.recording) - 1)
    opened.workspace.bottom.setCurrentWidget(card)
    wait(lambda: card.go.isVisible())
    click(card.go)
    wait(lambda: judged.verdict is not None and not judged.busy)
    assert opened.project.frame_index == judged.verdict.most_changed
    assert opened.project.step == "data"


def test_runs_copied_together_are_before_and_after_of_each_other(
    opened, trained, adapted, wait, tmp_path
):
    """Evaluate left the copied stage 1 unticked while the original was still where it had been."""
    window, page = opened, opened.workspace.evaluate_page
    copies = [shutil.copytree(run, tmp_path / "stick" / run.name) for run in (trained, adapted)]
    for run in copies:
        drop(window, run)
        wait(lambda run=run: window.project.run == run)
    click(window.header.buttons["evaluate"])
    assert page.chosen() == copies
    assert window.workspace.helped.card.offered == tuple(copies)
    page.evaluated_runs = copies
    assert page._start() == 0
    older = RunFolder.open(shutil.copytree(trained, tmp_path / "older"))
    older.update(created=older.info["created"] - 100)
    window.project.add_run(older.path)
    window.project.select_run(copies[1])
    box = window.workspace.export_page.film_before  # it took the first run there was
    assert box.currentData() == str(copies[0])

    moved = RunFolder.open(copies[1])  # its original is not on this machine
    told = {**moved.info["provenance"], "from_run": f"/elsewhere/{trained.name}"}
    moved.update(provenance=told)
    assert read_run(copies[1]).start == copies[0]
    # a run of that name that is another one is no start of it
    RunFolder.open(copies[0]).update(created=moved.info["created"] + 1)
    assert read_run(copies[1]).start == Path(told["from_run"])
    moved.update(provenance={**told, "from_run": str(trained)})
    assert read_run(copies[1]).start == trained


def test_what_two_long_names_share_is_left_out(
    opened, trained, adapted, wait, monkeypatch, tmp_path
):
    """The step of the second run was cut off where both bore the recording's name."""
    monkeypatch.setattr(comparison, "SAMPLE", 2)
    card = opened.workspace.helped.card
    click(opened.header.buttons["selfsup"])
    opened.workspace.bottom.setCurrentWidget(card)
    runs = [
        shutil.copytree(run, tmp_path / f"kitchen-monday-{name}")
        for run, name in ((trained, "train-01"), (adapted, "adapt-01"))
    ]
    opened.workspace.helped.comparison.start(*runs, None)
    wait(lambda: opened.workspace.helped.comparison.verdict is not None)
    text = card.detail.text()
    assert text.endswith("labels in last row only: train-01 (step 2) → adapt-01 (step 1)")
    assert card.detail.fontMetrics().horizontalAdvance(text) <= card.detail.width()
    assert card.detail.toolTip().startswith(f"{runs[0].name} (step 2) → {runs[1].name} (step 1)")


def test_intervals_are_those_of_frames_drawn_again():
    """The long way, which held the window for 0.1 s."""
    rng = np.random.default_rng(3)
    sides = [{i: frame(i, *rng.random(rng.integers(0, 4)), gap_m=rng.random()) for i in range(40)}
             for _ in range(2)]  # fmt: skip
    draws = np.random.default_rng(0).integers(0, 40, (400, 40))

    def gap(side, draw):
        return 1000 * np.median([pose.depth_gap_m for i in draw for pose in side[i].poses])

    said = compare(*sides).measures[0]
    assert said.before == pytest.approx(gap(sides[0], range(40)))
    changes = [gap(sides[1], draw) - gap(sides[0], draw) for draw in draws]
    assert (said.low, said.high) == pytest.approx(np.percentile(changes, (2.5, 97.5)))


def test_an_object_that_is_found_twice_counts_once():
    """A network that no longer sees a bottle double was marked as worse."""
    double = {i: frame(i, 0.5, 0.4) for i in range(24)}
    once = {i: frame(i, 0.5) for i in range(24)}
    found = compare(double, once).measures[-1]
    assert (found.name, found.before, found.after) == ("Found a frame", 1.0, 1.0)


def test_before_and_after_stand_beside_a_track(opened, trained, adapted, wait, monkeypatch):
    """Of a run that learned a track only the network before was shown, beside the track itself."""
    monkeypatch.setattr(comparison, "SAMPLE", 2)
    window, space = opened, opened.workspace
    project, layers = window.project, window.layers
    for index in range(len(project.recording)):
        pose = PoseData(1, np.eye(3), np.array([0, 0, 0.6]), 0.9)
        row = TrackRow(index, pose.object_id, 0, "tracked", pose.score, pose)
        project.put_tracked(adapted.with_name("track"), [row])
    for run in (trained, adapted):
        window.opener.open_run(run)
    window.runs.look_at(adapted)
    click(window.header.buttons["selfsup"])
    space.bottom.setCurrentWidget(space.helped.card)
    wait(lambda: space.helped.card.go.isVisible())
    click(space.helped.card.go)
    wait(lambda: space.helped.comparison.verdict is not None)
    assert [layer.network.run for layer in layers.pair()] == [trained, adapted]
    assert layers[POSES].shown  # the track stays in sight
    view = space.stage.frame_view
    click(view.modes.button("wipe"))
    assert [layer.network.run for layer in view.painter.visible()] == [trained, adapted]

    # probes that came while frames were in view are read again
    space.stage.probes.clear(adapted)
    click(space.stage.tabs.button("probes"))
    wait(lambda: space.stage.probes.newest is not None)
    assert space.stage.probes.start.caption.startswith("Start, frame ")


def test_the_card_can_be_read_in_a_small_window(qapp, opened, trained, adapted, wait, monkeypatch):
    """At 960 x 540 its table had one line, without its interval, and its list none."""
    monkeypatch.setattr(comparison, "SAMPLE", 2)
    window, space, card = opened, opened.workspace, opened.workspace.helped.card
    window.showNormal()
    window.resize(960, 540)
    click(window.header.buttons["selfsup"])
    tabs = space.bottom.tabBar()
    at = tabs.tabRect(space.bottom.indexOf(card)).center()
    QTest.mouseClick(tabs, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)
    space.helped.comparison.start(trained, adapted, None)
    wait(lambda: space.helped.comparison.verdict is not None and card.worst.count())
    area = card.findChild(QScrollArea)
    wait(lambda: card.headline.width() >= card.headline.sizeHint().width(), 20)
    qapp.processEvents()
    assert area.widget().width() <= area.viewport().width()
    cells = [card.table.itemAt(i).widget() for i in range(card.table.count())]
    assert len(cells) >= 18
    for cell in cells:
        assert cell.height() >= cell.sizeHint().height()
        area.ensureWidgetVisible(cell)
        assert cell.visibleRegion().boundingRect() == cell.rect(), cell.text()
    lines = [card.worst.visualItemRect(card.worst.item(i)) for i in range(2)]
    assert card.worst.viewport().rect().contains(lines[1])
    click(card.most)  # it scrolls there
    assert window.project.frame_index == space.helped.comparison.verdict.most_changed
    window.resize(1280, 800)
    window.resizeDocks(space.docks[2:], [260], Qt.Orientation.Vertical)
    wait(lambda: card.list_side.x() > card.table.geometry().right())  # beside it again
