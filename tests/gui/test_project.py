"""The document: selection, undo, and what a restart brings back."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hands import drop
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from self6d.runs.folder import RunFolder
from studio.engine.types import ModelCard, PoseData, RecordingInfo
from studio.jobs.queue import JobQueue
from studio.model.project import Project
from studio.model.settings import Settings
from studio.panels.project_tree import ProjectTree

pytestmark = pytest.mark.gui


def model(number: int) -> ModelCard:
    return ModelCard(number, f"m{number}", "", 0.1, np.zeros((2, 3)), 3, 1, False, True)


def pose(x: float, number: int = 1) -> PoseData:
    return PoseData(number, np.eye(3), np.array([x, 0.0, 1.0]))


@pytest.fixture
def project(qapp) -> Project:
    project = Project()
    project.set_recording(RecordingInfo("/nowhere/rec", "folder", ((0, 0), (0, 1), (0, 2))))
    project.set_models([Path("/nowhere/a.ply")], [model(1), model(2)])
    return project


def test_names_that_differ_at_their_end_are_told_apart(project, qtbot):
    """In a window of 1280 pixels a name of ten letters is too long by one."""
    cards = [replace(model(n), name=f"obj_{n:06d}", diameter=0.1962) for n in (1, 2)]
    project.set_models([Path("/nowhere/a.ply")], cards)
    listed = ProjectTree(project, JobQueue())
    qtbot.addWidget(listed)
    tree = listed.tree
    room = tree.fontMetrics().horizontalAdvance("obj_00000")
    shown = {tree.fontMetrics().elidedText(card.name, tree.textElideMode(), room) for card in cards}
    assert len(shown) == 2, shown
    assert all("…" in name for name in shown)


def test_runs_of_a_recording_with_a_long_name_differ_in_the_list(project, qtbot, tmp_path):
    """Beside Resume two of them read "my …-01" both."""
    recording = tmp_path / "a bottle, second try with a long name 2026-11-28"
    project.set_recording(replace(project.recording, root=str(recording)))
    for kind, name in (("synthetic", "train-01"), ("selfsup", "adapt-01"), ("track", "my own")):
        begin = "" if name == "my own" else f"{recording.name}-"
        run = RunFolder.create(tmp_path / f"{begin}{name}", kind, {})
        run.update(status="stopped")
        project.add_run(run.path)
    listed = ProjectTree(project, JobQueue())
    qtbot.addWidget(listed)
    items = [listed.item_of("run", str(run.path)) for run in project.runs]
    assert [item.text(0) for item in items] == ["…train-01", "…adapt-01", "my own"]
    assert str(project.runs[0].path) in items[0].toolTip(0)


def test_a_name_beside_resume_is_told_from_others(project, qtbot, tmp_path):
    """Of mustard0-adapt-01 and mustard0-meant-01 there was "must…t-01" to read."""
    project.set_recording(replace(project.recording, root=str(tmp_path / "mustard0")))
    for name, status in (("adapt-01", "stopped"), ("adapt-02", "done")):
        run = RunFolder.create(tmp_path / f"mustard0-{name}", "selfsup", {})
        (run.path / "checkpoints" / "step_00000003.safetensors").touch()
        run.update(status=status)
        project.add_run(run.path)
    listed = ProjectTree(project, JobQueue())
    qtbot.addWidget(listed)
    items = [listed.item_of("run", str(run.path)) for run in project.runs]
    assert [item.text(0) for item in items] == ["…adapt-01", "mustard0-adapt-02"]


def test_frame_selection_stays_inside(project, qtbot):
    with qtbot.waitSignal(project.frameChanged):
        project.select_frame(99)
    assert project.frame_index == 2
    project.select_frame(-5)
    assert project.frame_index == 0


def test_poses_belong_to_frame_and_object(project):
    project.put_poses(1, [pose(0.1), pose(0.2, 2)], "predicted")
    assert project.pose() is None
    project.select_frame(1)
    assert project.pose().t[0] == 0.1
    assert [p.object_id for p in project.frame_poses()] == [1, 2]


def test_further_instances_are_shown_kept_and_replaced(project):
    best, second, other = pose(0.1), pose(0.5), pose(0.2, 2)
    project.put_poses(0, [best, second, other], "predicted")
    assert project.pose(1) is best
    assert project.frame_poses() == [best, other, second]
    project.put_poses(0, [pose(0.3)], "optimised")  # of the one worked on
    assert project.frame_poses()[1:] == [other, second]
    again = Project()
    again.restore_poses(project.to_dict()["poses"])
    assert [p.t[0] for p in again.frame_poses(0)] == [0.3, 0.2, 0.5]
    project.put_poses(0, [best], "predicted")
    assert project.frame_poses() == [best, other]


def test_nudges_in_a_row_undo_together(project):
    project.put_poses(0, [pose(0.0)], "predicted")
    for x in (0.1, 0.2, 0.3):
        project.edit_pose(pose(x), "Move pose", merge=True)
    assert project.origins[0, 1] == "edited"
    project.undo.undo()
    assert project.pose().t[0] == 0.0
    assert project.origins[0, 1] == "predicted"
    project.undo.redo()
    assert project.pose().t[0] == 0.3


def test_separate_edits_undo_one_by_one(project):
    project.edit_pose(pose(0.1), "Perturb pose")
    project.edit_pose(pose(0.2), "Perturb pose")
    project.undo.undo()
    assert project.pose().t[0] == 0.1
    project.undo.undo()
    assert project.pose() is None


def test_options_are_undoable(project, qtbot):
    project.edit_option("adapt:seed", 3, "Change seed")
    project.edit_option("adapt:seed", 3, "Change seed")  # no change, no entry
    assert project.undo.count() == 1
    with qtbot.waitSignal(project.optionsChanged):
        project.undo.undo()
    assert "adapt:seed" not in project.options


def test_another_recording_forgets_poses_and_history(project):
    project.edit_pose(pose(0.1), "Move pose")
    project.set_recording(RecordingInfo("/nowhere/b", "folder", ((0, 0),)))
    assert not project.poses
    assert not project.undo.canUndo()


def test_workspace_round_trip(project):
    project.edit_pose(pose(0.25), "Move pose")
    project.select_frame(2)
    state = project.to_dict()
    other = Project()
    other.set_recording(RecordingInfo("/nowhere/rec", "folder", ((0, 0), (0, 1), (0, 2))))
    other.restore_poses(state["poses"])
    assert other.poses[0, 1].t[0] == 0.25
    assert state["frame"] == 2


def test_settings_remember(tmp_path):
    settings = Settings(tmp_path / "a.ini")
    assert settings.workspace() == {}
    (tmp_path / "rec").mkdir()
    settings.add_recent(tmp_path / "rec", [tmp_path / "m.ply"])
    settings.add_recent(tmp_path / "gone", [])
    settings.save_workspace({"frame": 3})
    again = Settings(tmp_path / "a.ini")
    assert [Path(r["recording"]).name for r in again.recent()] == ["rec"]
    assert again.workspace() == {"frame": 3}


def test_damaged_settings_are_as_none(tmp_path):
    (tmp_path / "a.ini").write_text("[General]\nworkspace=not json\nrecent=17\n")
    settings = Settings(tmp_path / "a.ini")
    assert settings.workspace() == {}
    assert settings.recent() == []


def test_a_recording_opened_again_brings_its_runs_and_models(
    open_studio, block_recording, settings, wait, tmp_path
):
    """They had to be found and opened by hand, each of them, after every start."""
    plain = tmp_path / "plain"
    shutil.copytree(block_recording, plain, ignore=shutil.ignore_patterns("models"))
    settings.add_recent(plain, [block_recording / "models"], "mm")
    for name, data in (("mine", plain), ("another", tmp_path / "elsewhere")):
        RunFolder.create(settings.runs_folder / name, "track", {}, {"data": str(data)})
    RunFolder.create(tmp_path / "beside", "track", {}, {"data": str(plain)})
    window = open_studio(plain)
    wait(lambda: window.project.models)
    assert "CAD models of last time" in window.banner.text.text()
    assert window.project.unit == "mm"
    assert [run.name for run in window.project.runs] == ["mine", "beside"]


def test_a_folder_of_runs_opens_them_with_the_recording_in_it(
    open_studio, block_recording, wait, tmp_path
):
    """What `demo` and `quick` leave behind could not be opened at once."""
    whole = tmp_path / "whole"
    shutil.copytree(block_recording, whole / "recording")
    for name in ("stage1", "track"):
        RunFolder.create(whole / name, "track", {}, {"data": "/elsewhere"})
    (whole / "notes").mkdir()
    window = open_studio(whole)
    wait(lambda: window.project.models)
    assert window.project.recording_path == whole
    assert {run.name for run in window.project.runs} == {"stage1", "track"}
    assert window.project.is_of_it(whole / "recording")  # its runs are named by that
    assert not window.project.is_of_it(tmp_path)
    window.close_project()
    alone = tmp_path / "alone"
    shutil.copytree(whole, alone, ignore=shutil.ignore_patterns("recording"))
    drop(window, alone)
    wait(lambda: len(window.project.runs) == 2)
    assert window.banner.objectName() != "banner_bad"


def test_beside_a_selected_run_the_tree_shows_the_selected_object(project, qtbot, tmp_path):
    """A run took the only highlight: which object poses go to was not seen."""
    project.add_run(RunFolder.create(tmp_path / "stage1", "stage1", {}).path)
    listed = ProjectTree(project, JobQueue())
    qtbot.addWidget(listed)
    listed.resize(260, 500)
    listed.show()
    qtbot.waitExposed(listed)
    tree = listed.tree

    def press(kind: str, value: object) -> None:
        place = tree.visualItemRect(listed.item_of(kind, value)).center()
        QTest.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=place)

    def marked() -> list[int]:
        """Objects whose line has another ground than the empty tree's."""
        picture = tree.viewport().grab().toImage()
        empty = picture.pixelColor(picture.width() // 2, picture.height() - 3)
        lines = {n: tree.visualItemRect(listed.item_of("object", n)) for n in (1, 2)}
        return [n for n, at in lines.items()
                if picture.pixelColor(at.center().x(), at.top() + 3) != empty]  # fmt: skip

    press("object", 2)
    press("run", str(tmp_path / "stage1"))
    assert project.run == tmp_path / "stage1"
    assert project.object_id == 2
    assert marked() == [2]
    project.select_object(1)  # such as by a click into the picture
    assert marked() == [1]


def test_a_recording_named_from_where_one_stands_is_the_one_that_runs_tell_of(
    open_studio, sample, settings, wait, monkeypatch
):
    """`launch DATA`: its runs were not listed, and the next start elsewhere did not find it."""
    run = RunFolder.create(settings.runs_folder / "mine", "track", {}, {"data": str(sample)})
    monkeypatch.chdir(sample.parent)
    window = open_studio(Path(sample.name))
    wait(settings.recent)
    assert window.project.recording.root == str(sample)
    assert [listed.path for listed in window.project.runs] == [run.path]
    assert settings.recent()[0]["recording"] == str(sample)
    window.project.select_run(run.path)
    assert "another recording" not in window.banner.text.text()


def test_what_was_placed_is_there_when_the_recording_is_opened_again(
    open_studio, block_recording, sample, settings, wait
):
    """Another recording, or none, took the key frames along without a word."""
    window = open_studio(block_recording)
    project = window.project
    wait(lambda: project.models)
    project.select_frame(4)
    project.edit_pose(pose(0.01), "Move")
    window.opener.open_recording(sample)
    wait(lambda: project.recording.root == str(sample) and project.models)
    assert not project.keys
    window.close_project()
    window.opener.open_recording(block_recording)
    wait(lambda: project.recording and project.models)
    assert list(project.keys) == [(4, 1)] == list(project.poses)
    np.testing.assert_allclose(project.keys[4, 1].t, [0.01, 0.0, 1.0])
    assert project.origins[4, 1] == "edited"
    assert project.frame_index == 4
    assert "1 key frame" in window.banner.text.text()
    window.opener.open_recording(block_recording)  # dropped once more
    wait(lambda: not project.awaits_models and project.keys)
    assert list(project.keys) == [(4, 1)]


def test_recent_recordings_are_in_the_file_menu(
    open_studio, block_recording, sample, settings, wait, tmp_path
):
    """They were on the start page alone, which an open recording hides."""
    gone = shutil.copytree(block_recording, tmp_path / "gone & lost")
    for path, models in ((gone, []), (sample, [sample / "models"])):
        settings.add_recent(path, models)
    window = open_studio()
    file = next(a.menu() for a in window.menuBar().actions() if a.text() == "File")
    action = next(a for a in file.actions() if a.text() == "Open recent")
    recent = action.menu()

    def listed() -> list[str]:
        recent.aboutToShow.emit()
        return [action.text() for action in recent.actions() if action.isEnabled()]

    assert listed() == [f"sample ({sample.parent})", f"gone && lost ({tmp_path})"]
    recent.actions()[0].trigger()
    wait(lambda: window.project.models)
    assert window.project.recording_path == sample
    assert window.project.model_paths == [sample / "models"]
    shutil.rmtree(gone)
    assert listed() == [f"sample ({sample.parent})"]
    assert action.isEnabled()
    assert "file.recent" not in [e.name for e in window.actions_registry.searchable()]
