"""What the window shows is what is there and what is sent; another project takes nothing over."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hands import answer, click, drop, fill
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from self6d.events import Scalars
from self6d.runs.folder import RunFolder
from studio.engine.types import PoseData
from studio.model.layers import Network
from studio.panels.header import ThemeSwitch
from studio.toolkit.dialogs import Question

pytestmark = pytest.mark.gui


@pytest.fixture
def other(sample, tmp_path) -> Path:
    """Another recording, that comes without CAD models."""
    return shutil.copytree(
        sample, tmp_path / "other", ignore=shutil.ignore_patterns("models", "models_*")
    )


def trajectory(steps: int) -> list[dict]:
    import numpy as np

    return [
        {"step": i, "R_m2c": np.eye(3), "t_m2c": [0, 0, 1], "total": 1.0, "degrees": None,
         "mm": None}
        for i in range(steps)
    ]  # fmt: skip


def test_another_recording_takes_nothing_over(opened, other, tmp_path, wait):
    window, space, project = opened, opened.workspace, opened.project
    run = RunFolder.create(tmp_path / "run", "synthetic", {}).path
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / "checkpoints" / "step_00000001.json").write_text("{}")
    project.add_run(run)
    project.select_run(run)
    space.curves.add_scalars(str(run), [Scalars(0, {"loss/mask": 1.0})])
    space.pose_panel.show_replay((0, 1), trajectory(3))
    space.evaluate_page.evaluated.emit()
    click(window.header.buttons["selfsup"])
    click(space.adapt_panel.no_check)
    assert space.curves.runs
    assert space.pose_panel.replay.isEnabled()
    assert space.adapt_panel.spec() is not None

    drop(window, other)
    wait(lambda: project.recording_path == other and window.director.frame is not None)
    assert project.models == []
    assert project.model_paths == []
    assert project.runs == []
    assert project.run is None
    assert not space.curves.runs
    assert not space.pose_panel.replay.isEnabled()
    assert space.pose_panel.plot.isHidden()
    assert "After a run" in space.pose_panel.replay_note.text()
    assert window.header.state("evaluate") == ""
    assert not space.adapt_panel.no_check.isChecked()
    assert space.adapt_panel.start.count() == 0
    assert space.adapt_panel.spec() is None
    assert "CAD models" in space.adapt_panel.problem.text()


def test_models_opened_first_stay_with_the_first_recording(open_studio, sample, other, wait):
    window = open_studio()
    drop(window, sample / "models")
    wait(lambda: window.project.models)
    drop(window, other)
    wait(lambda: window.project.recording_path == other)
    wait(lambda: window.project.models)
    assert window.project.model_paths == [sample / "models"]


def test_queueing_never_hides_the_running_job_and_closing_asks(opened, other, wait):
    window, space = opened, opened.workspace
    click(window.header.buttons["synthetic"])
    click(space.train_panel.run_button)
    first = window.runs.job
    assert first.state.active
    assert "starting its program, for 0:0" in window.job_bar.text.text()
    assert space.train_panel.run_button.text() == "Add to the queue"
    window.project.edit_option("train:seed", 1, "Change seed")
    click(space.train_panel.run_button)
    second = window.queue.waiting[0]
    assert second.run != first.run
    assert window.runs.job is first
    assert window.job_bar.job is first
    assert f"{second.run.name} waits until {first.run.name}" in window.banner.text.text()

    window.runs.act("open", second.run)  # a double click on it in the tree
    assert window.runs.job is first
    window.project.edit_option("train:seed", 2, "Change seed")
    click(space.train_panel.run_button)
    third = window.queue.waiting[1]
    told = f"{third.run.name} waits until {first.run.name} and {second.run.name} have ended."
    assert window.banner.text.text() == told
    assert window.banner.isVisible()
    space.bottom.setCurrentWidget(space.jobs_panel)
    space.jobs_panel.choose(second)
    assert not space.jobs_panel.first_button.isEnabled()  # it is next already
    space.jobs_panel.choose(third)
    assert space.jobs_panel.first_button.isEnabled()
    click(space.jobs_panel.drop_button)
    assert not window.banner.isVisible()  # what it said stayed for seconds

    titles: list[str] = []
    answer("stay", titles.append)
    assert not window.close()
    assert titles == ["Work is under way"]

    drop(window, other)
    wait(lambda: window.project.recording_path == other)
    assert window.runs.job is first  # it works on, whatever is looked at
    assert window.job_bar.job is first
    window.queue.drop(second)
    wait(lambda: first.run.exists())
    titles.clear()
    answer("stay", titles.append)
    click(window.job_bar.cancel)
    assert titles == ["Cancel and discard?"]
    assert first.state.active
    answer("discard")
    click(window.job_bar.cancel)
    wait(lambda: first.state.over and window.runs.job is None)
    assert not first.run.exists()
    assert window.job_bar.job is None
    assert first not in window.queue.jobs
    assert first.run not in [run.path for run in window.project.runs]


def test_how_far_a_job_is_is_never_cut_off(opened, wait):
    """The time left was dots at 1280 pixels: the run's name and a fourth button took its room."""
    window, bar = opened, opened.job_bar
    steering = [window.actions_registry[f"run.{n}"] for n in ("pause", "stop", "cancel", "save")]
    assert not any(action.isEnabled() for action in steering)  # there is nothing to steer
    click(window.header.buttons["synthetic"])
    click(window.workspace.train_panel.run_button)
    assert all(action.isEnabled() for action in steering)
    name, drawn = window.runs.job.run.name, []
    for room in (-5, 5):
        bar.text.setFixedWidth(bar.text.fontMetrics().horizontalAdvance(bar.text.text()) + room)
        drawn.append(bar.text.drawn())
    told = bar.text.text()
    answer("discard")
    click(bar.cancel)
    wait(lambda: window.runs.job is None)
    assert not any(action.isEnabled() for action in steering)
    assert name in told
    assert drawn == [told.replace(f", {name}", ""), told]


def test_cancelled_with_one_behind_it_that_one_begins_and_is_named(opened, wait):
    """The banner told of the cancelled one alone, and Space on the same button meant the next."""
    window, panel, bar = opened, opened.workspace.train_panel, opened.job_bar
    click(window.header.buttons["synthetic"])
    click(panel.run_button)
    window.project.edit_option("train:seed", 1, "Change seed")
    click(panel.run_button)
    first, second = window.queue.jobs
    wait(lambda: first.run.exists())
    network = Network(first.run)
    window.predictions.put(network, 0, 0, [])
    bar.cancel.setFocus()
    answer("discard")
    click(bar.cancel)
    wait(lambda: window.queue.jobs == [second])
    assert second.state.active
    assert bar.job is window.runs.job is second
    assert not first.run.exists()
    assert window.predictions.poses(network, 0) is None  # the next may have its folder
    told = f"{first.run.name} is gone. {second.run.name} has begun."
    assert window.banner.text.text().endswith(told)
    assert not bar.cancel.hasFocus()
    answer("discard")
    click(bar.cancel)
    wait(lambda: window.runs.job is None)


def test_closing_asks_about_a_film(opened, tmp_path, wait):
    page = opened.workspace.export_page
    page._ask("video", str(tmp_path / "film.mp4"), str(tmp_path / "gone"), [], [],
              result=tmp_path / "film.mp4")  # fmt: skip
    assert page.unfinished() == ["a film"]
    titles: list[str] = []
    answer("stay", titles.append)
    assert not opened.close()
    assert titles == ["Work is under way"]
    wait(lambda: page.unfinished() == [])  # refused, as there is no such recording
    assert opened.close()


def test_what_is_being_typed_is_sent(opened):
    panel = opened.workspace.train_panel
    click(opened.header.buttons["synthetic"])
    click(panel.steps)
    QTest.keyClicks(panel.steps, "70")
    opened.project.runsChanged.emit()  # something else happens meanwhile
    assert panel.steps.text() == "70"
    click(panel.copy_button)
    assert "--steps 70" in QApplication.clipboard().text()
    assert panel.spec().steps == 70


@pytest.mark.parametrize(
    ("name", "typed", "told"),
    [
        ("steps", "abc", "steps: 'abc' cannot be used, it has to be a whole number."),
        ("steps", "0", "steps: '0' cannot be used, it has to be at least 1."),
        ("minutes", "1.5.2", "minutes: '1.5.2' cannot be used, it has to be a number."),
        ("train.batch", "many", "train.batch: 'many' cannot be used, it has to be a whole number."),
    ],
)
def test_what_cannot_be_used_is_not_sent_as_something_else(opened, wait, name, typed, told):
    """It was emptied, or marked and left behind, and the run began with what was there before."""
    click(opened.header.buttons["synthetic"])
    panel = opened.workspace.train_panel
    wait(lambda: panel.form.ready)
    own = {"steps": panel.steps, "minutes": panel.minutes}
    if name not in own:
        fill(panel.form.filter, name)
    box = own.get(name) or panel.form.editor(name).box
    fill(box, typed)
    assert (box.text(), box.property("invalid")) == (typed, True)
    assert panel.problem.isVisible()
    assert panel.problem.text() == told
    assert not panel.run_button.isEnabled()
    panel.seed.setFocus()
    QTest.keyClicks(panel.seed, "7")
    QTest.keyClick(panel.seed, Qt.Key.Key_Return)  # another setting keeps it in sight
    assert (box.text(), panel.spec()) == (typed, None)
    bar = opened.job_bar
    wait(lambda: told in bar.text.text() and not bar.go.isVisible())
    fill(box, "3")
    wait(lambda: told not in bar.text.text() and bar.go.isVisible())
    assert not panel.problem.isVisible()
    assert panel.run_button.isEnabled()
    assert panel.spec() is not None


def test_only_a_network_is_offered_as_a_start(opened, tmp_path):
    opened.project.add_run(RunFolder.create(tmp_path / "pose", "single_image", {}).path)
    click(opened.header.buttons["selfsup"])
    panel = opened.workspace.adapt_panel
    assert panel.start.count() == 0
    assert panel.spec() is None
    assert "Train stage 1 first" in panel.problem.text()


def test_waiting_jobs_keep_their_own_start_pose(opened):
    import numpy as np

    project, panel = opened.project, opened.workspace.pose_panel
    files = []
    for z in (0.5, 0.6):
        pose = PoseData(project.object_id, np.eye(3), np.array([0, 0, z]))
        project.put_poses(0, [pose], "edited")
        files.append(Path(panel.spec().options["init"]))
    assert files[0].read_text() != files[1].read_text()


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (Qt.DropAction.MoveAction | Qt.DropAction.CopyAction, Qt.DropAction.CopyAction),
        (Qt.DropAction.MoveAction | Qt.DropAction.LinkAction, Qt.DropAction.LinkAction),
        (Qt.DropAction.MoveAction, None),
    ],
)
def test_a_drop_never_moves_what_was_dropped(open_studio, tmp_path, offered, taken):
    window = open_studio()
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "letter.txt"))])
    shift = Qt.KeyboardModifier.ShiftModifier  # asks for a move
    left = Qt.MouseButton.LeftButton
    for event in (
        QDragEnterEvent(QPoint(9, 9), offered, mime, left, shift),
        QDropEvent(QPointF(9, 9), offered, mime, left, shift),
    ):
        QApplication.sendEvent(window, event)
        assert event.isAccepted() == (taken is not None)
        if taken is not None:
            assert event.dropAction() == taken


def test_weights_steer_the_running_job_whichever_way_they_change(opened, trained, tmp_path, wait):
    project, panel = opened.project, opened.workspace.adapt_panel
    project.add_run(trained)
    click(opened.header.buttons["selfsup"])
    project.edit_option("adapt:preset", "self6d-tiny", "Change preset")
    boxes = panel.weights.boxes
    wait(lambda: panel._fields_of == "self6d-tiny" and panel.weights.weight("mask") > 0)
    sent: list[tuple[str, float]] = []
    panel.liveWeight.connect(lambda term, weight: sent.append((term, weight)))
    own = panel.spec()
    running = replace(own, out=tmp_path / "job", overrides={"loss.mask": 0.5})
    panel.set_live(running)  # one that was not started here, such as a resumed one
    assert boxes["mask"].text() == "0.5"
    panel.show_live(running.out, {"loss.mask": 0.6})  # changed by hand before
    assert boxes["mask"].text() == "0.6"
    fill(boxes["mask"], "0.25")
    wait(lambda: sent == [("mask", 0.25)])
    QTest.keyClick(opened, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    wait(lambda: sent[1:] == [("mask", 0.6)])
    panel.load(replace(running, seed=4, overrides={"loss.mask": 0.7, "loss.ab": 0.1}))
    wait(lambda: sorted(sent[2:]) == [("ab", 0.1), ("mask", 0.7)])  # and nothing in between
    assert "at the next step" in panel.weights_note.text()
    project.edit_option("adapt:preset", "self6d-plus-tiny", "Change preset")
    wait(lambda: panel.weights_note.text() and panel._fields_of == "self6d-plus-tiny")
    assert f"began as {own.preset} and keeps its weights" in panel.weights_note.text()
    fill(boxes["mask"], "0.9")
    panel.set_live(None)
    assert panel.weights_note.text().startswith("MS-SSIM and perceptual have no effect")
    panel.set_live(replace(running, preset="self6d-plus-tiny", out=tmp_path / "plus"))
    assert "are not refined again" in panel.weights_note.text()  # refined once, at the start
    assert len(sent) == 4


def test_a_preset_chosen_before_the_first_fields_came_gets_its_own(opened, wait):
    """The form kept the fields and weights of the preset before."""
    panel = opened.workspace.adapt_panel
    panel._fields, panel._described, panel._fields_of = [], "", ""  # as it is at first
    panel.describe()
    opened.project.edit_option("adapt:preset", "self6d-tiny", "Change preset")
    wait(lambda: panel._fields_of == "self6d-tiny", 20)


def test_enter_never_loses_work(qtbot):
    """`Close all the same` was what Enter and Space did."""
    parent = QWidget()
    qtbot.addWidget(parent)
    answers = [("stay", "Stay", "primary"), ("lose", "Close all the same", "danger")]
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Space):
        question = Question(parent, "Work is under way", "It would be lost.", answers)
        question.open()
        qtbot.waitUntil(lambda question=question: question.focusWidget() is not None)
        QTest.keyClick(question.focusWidget(), key)
        assert question.answer == "stay"


def test_the_menu_marks_where_jobs_run(opened):
    actions, settings = opened.actions_registry, opened.settings
    own, inside = actions["run.runner.process"], actions["run.runner.thread"]
    assert own.isChecked()
    assert not inside.isChecked()
    (menu,) = (a.menu() for a in opened.menuBar().actions() if a.text() == "Run")
    for action, runner in ((inside, "thread"), (inside, "thread"), (own, "process")):
        menu.popup(opened.mapToGlobal(QPoint(0, 0)))
        place = menu.actionGeometry(action).center()
        QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=place)
        assert settings.runner == runner
        assert [own.isChecked(), inside.isChecked()] == [runner == "process", runner == "thread"]


def test_while_the_doctor_looks_again_the_old_report_is_said_to_be_old(opened, wait):
    panel = opened.workspace.doctor_panel
    wait(lambda: panel.report)
    assert "report before" not in panel.verdict.text()
    click(panel.again)
    assert panel.verdict.text() == "Examining… What is below is the report before."

    def facts() -> QWidget:
        return panel.facts.itemAt(1).widget()

    assert not facts().isEnabled()
    click(next(b for b in opened.header.findChildren(ThemeSwitch)))
    assert panel.verdict.text() == "Examining… What is below is the report before."  # not "Usable"
    assert not facts().isEnabled()
    assert not panel.fix_all.isVisible()
    wait(lambda: not panel.verdict.text().startswith("Examining"))
    assert "report before" not in panel.verdict.text()
    assert facts().isEnabled()


def test_the_menu_marks_the_theme(opened):
    """However it was chosen; none was marked."""
    actions, settings = opened.actions_registry, opened.settings

    def marked() -> list[str]:
        looks = ("light", "dark", "system")
        return [look for look in looks if actions[f"view.theme.{look}"].isChecked()]

    assert marked() == ["light"]
    (menu,) = (a.menu() for a in opened.menuBar().actions() if a.text() == "View")
    for look in ("dark", "dark", "system", "light"):
        menu.popup(opened.mapToGlobal(QPoint(0, 0)))
        place = menu.actionGeometry(actions[f"view.theme.{look}"]).center()
        QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=place)
        assert settings.theme == look
        assert marked() == [look]
    click(next(b for b in opened.header.findChildren(ThemeSwitch)))
    assert marked() == ["dark"]
    assert not actions["view.theme.dark"].isIconVisibleInMenu()  # it would stand for the mark
