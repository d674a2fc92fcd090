"""Whose poses a picture shows: network, step and frame; none of other objects, no truth unasked."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hands import click
from PySide6.QtWidgets import QFileDialog

from self6d.datasets import open_dataset
from self6d.runs.folder import RunFolder
from self6d.scene.mesh_io import load_models
from self6d.scene.models_copy import save_models
from studio.engine.requests.analysis import Networks
from studio.engine.types import ModelCard, PoseData
from studio.jobs import JobSpec
from studio.model.fit import misfit
from studio.model.layers import Network

pytestmark = pytest.mark.gui


def card(number: int, size: float, name: str = "thing") -> ModelCard:
    box = np.array([[-size] * 3, [size] * 3])
    return ModelCard(number, name, "", 2 * size * 3**0.5, box, 8, 12, False, False)


def test_networks_are_compared_by_geometry_not_by_number():
    ours = [card(1, 0.05), card(2, 0.1)]
    assert misfit(ours, ours) == ""
    assert misfit([card(1, 0.0501), card(2, 0.1), card(3, 0.2)], ours) == ""  # one more, rounded
    assert misfit([card(2, 0.1)], ours) == ""  # some of them
    assert misfit(ours, ours, all_of_them=True) == ""
    assert misfit([card(2, 0.1)], ours, all_of_them=True) == "it knows 2, open are 1, 2"
    assert misfit([*ours, card(3, 0.2)], ours, all_of_them=True).endswith("2, 3, open are 1, 2")
    assert "its object 2 is can, 277 mm" in misfit([card(1, 0.05), card(2, 0.08, "can")], ours)
    moved = replace(card(1, 0.05), extents=card(1, 0.05).extents + 0.02)  # another origin
    assert "object 1" in misfit([moved], ours)
    assert "object 7 alone" in misfit([card(7, 0.05)], ours)  # the same thing, numbered otherwise
    assert misfit([], ours) == misfit(ours, []) == ""  # nothing to compare


def leave_checkpoint(run: RunFolder) -> None:
    (run.path / "checkpoints").mkdir(exist_ok=True)
    (run.path / "checkpoints" / "step_00000001.json").write_text("{}")


@pytest.fixture
def runs(sample, tmp_path) -> dict[str, Path]:
    """A run of the sample's objects, and one of others with the same numbers."""
    made, models = {}, load_models(sample / "models")
    for name, known in (("right", models), ("wrong", [replace(models[1], object_id=1)])):
        folder = RunFolder.create(tmp_path / name, "synthetic", {})
        save_models(known, folder.models_path)
        folder.update(status="done", result={"add_recall": 0.0})
        leave_checkpoint(folder)
        made[name] = folder.path
    return made


def test_a_network_of_other_objects_is_marked_and_refused(opened, runs, wait):
    project, space = opened.project, opened.workspace
    panel = space.adapt_panel
    for path in runs.values():
        project.add_run(path)
    wait(lambda: set(project.known) == set(runs.values()))
    click(opened.header.buttons["selfsup"])
    shown = [panel.start.itemText(i) for i in range(panel.start.count())]
    assert sorted(shown) == ["right", "wrong (other objects)"]
    assert panel.spec().from_run == runs["right"]
    assert panel.start.currentText() == "right"
    project.edit_option("adapt:from", str(runs["wrong"]), "Change start run")
    assert panel.spec() is None
    assert "other objects: its object 1 is" in panel.problem.text()
    item = space.tree.item_of("run", str(runs["wrong"]))
    assert "other objects" in item.toolTip(0)
    opened.runs.act("predict", runs["wrong"])
    assert "wrong is a network of other objects" in opened.banner.text.text()
    assert project.frame_poses() == []
    offered = [space.pose_panel.run_choice.itemData(i)
               for i in range(space.pose_panel.run_choice.count())]  # fmt: skip
    assert offered == [None, str(runs["right"])]


def test_a_run_that_left_no_network_is_offered_nowhere(opened, runs, tmp_path, wait):
    """It ended before its first checkpoint: whoever chose it met an error."""
    from studio.live.page import LivePage

    window, space, project = opened, opened.workspace, opened.project
    vain = RunFolder.create(tmp_path / "vain", "synthetic", {})
    vain.update(status="failed")
    right = runs["right"]
    for path in (right, vain.path):
        project.add_run(path)
    wait(lambda: right in project.known)
    live = LivePage(window, project, window.settings)
    boxes = {
        "Pose": space.pose_panel.run_choice, "Track": space.track_panel.start,
        "Layers": space.layering.panel.run, "Export": space.export_page.run,
        "film": space.export_page.film_before, "live": live.network,
        "Stage 2": space.adapt_panel.start,
    }  # fmt: skip
    for name, box in boxes.items():
        texts = [box.itemText(i) for i in range(box.count())]
        assert any("right" in text for text in texts), (name, texts)
        assert not any("vain" in text for text in texts), name
    listed = space.evaluate_page.runs
    assert [listed.item(i).text() for i in range(listed.count())] == ["right"]
    leave_checkpoint(vain)
    project.add_run(vain.path)
    assert space.pose_panel.run_choice.findData(str(vain.path)) > 0  # now there is one
    live.close()


def test_stage_1_goes_on_from_a_run_of_the_same_objects(opened, runs, sample, wait, tmp_path):
    project, panel = opened.project, opened.workspace.train_panel
    part = RunFolder.create(tmp_path / "part", "synthetic", {})
    save_models(load_models(sample / "models")[:1], part.models_path)
    leave_checkpoint(part)
    runs["part"] = part.path
    runs["none"] = RunFolder.create(tmp_path / "none", "synthetic", {}).path
    for path in runs.values():
        project.add_run(path)
    wait(lambda: {runs["right"], runs["wrong"], part.path} <= set(project.known))
    click(opened.header.buttons["synthetic"])
    assert panel.start.currentText() == "nothing: train anew"
    assert panel.spec().from_run is None
    i = panel.start.findData(str(runs["right"]))
    panel.start.setCurrentIndex(i)
    panel.start.activated.emit(i)
    spec = panel.spec()
    assert spec.from_run == runs["right"]
    assert f"--from {runs['right']}" in spec.shell()
    project.edit_option("train:from", None, "Leave it")
    panel.load(spec)  # Duplicate keeps it
    assert panel.spec().from_run == runs["right"]
    project.edit_option("train:from", str(runs["wrong"]), "Change start run")
    assert panel.spec() is None
    assert "other objects: its object 1 is" in panel.problem.text()
    shown = [panel.start.itemText(i) for i in range(panel.start.count())]
    assert "part (other objects)" in shown  # the run would end at its first step
    assert "none" not in shown  # it ended before it left anything
    project.edit_option("train:from", str(runs["part"]), "Change start run")
    assert panel.spec() is None
    assert "it knows 1, open are 1, 2, 3" in panel.problem.text()


def test_predict_uses_the_selected_run_and_says_so(opened, runs):
    project, panel = opened.project, opened.workspace.pose_panel
    made = RunFolder.create(runs["right"].with_name("newer"), "selfsup", {})
    leave_checkpoint(made)
    newer = made.path
    project.add_run(runs["right"])
    project.add_run(newer)
    assert panel.network() == newer
    project.select_run(runs["right"])
    opened.workspace.inspector.setCurrentWidget(panel)
    asked: list[Path] = []
    panel.predictRequested.connect(asked.append)
    click(panel.predict)
    assert asked == [runs["right"]]
    assert panel.predict.toolTip().endswith("by right")


def test_no_tick_for_a_run_that_got_nothing_right(opened, runs, wait):
    opened.project.add_run(runs["right"])
    assert opened.header.state("synthetic") == "warn"
    assert "not one pose was right" in opened.header.buttons["synthetic"].toolTip()
    tree = opened.workspace.tree
    assert "not one pose" in tree.item_of("run", str(runs["right"])).toolTip(0)
    page = opened.workspace.evaluate_page
    page.results = [{"mean": {"recall_10": 0.0}}]
    page.evaluated.emit()
    assert opened.header.state("evaluate") == "warn"
    page.results = [{"mean": {"recall_10": None}}]  # without labels there is none to count
    page.evaluated.emit()
    assert opened.header.state("evaluate") == "ok"
    folder = RunFolder.open(runs["right"])
    assert tree.tree.itemWidget(tree.item_of("run", str(runs["right"])), 1) is None  # it is done
    asked = []
    tree.runAction.connect(lambda *what: asked.append(what))
    folder.update(status="stopped", result={"add_recall": 0.5})
    opened.project.add_run(runs["right"])
    click(tree.tree.itemWidget(tree.item_of("run", str(runs["right"])), 1))
    assert asked == [("resume", runs["right"])]
    folder.update(status="done")
    opened.project.add_run(runs["right"])
    assert opened.header.state("synthetic") == "ok"


def test_what_finds_nothing_is_no_success_when_it_ends_nor_when_it_is_exported(
    opened, open_studio, sample, settings, quick, wait, tmp_path
):
    header, space = opened.header, opened.workspace
    job = opened.runs.submit(JobSpec(
        "train", settings.runs_folder / "vain", models=(sample / "models",), preset="tiny", steps=1,
        options={"camera": sample}, overrides=dict(quick),
    ))  # fmt: skip
    wait(lambda: job.state.over and header.state("synthetic") == "warn")
    assert opened.banner.objectName() == "banner_warn"
    assert "is done: vain, but not one pose was right on its own" in opened.banner.text.text()
    click(header.buttons["evaluate"])
    click(space.evaluate_page.go)
    wait(lambda: header.state("evaluate") == "warn")
    click(header.buttons["export"])
    page = space.export_page
    assert "not one pose was right on its own validation images" in page.facts.text()
    page.onnx.setChecked(False)
    with mock.patch.object(QFileDialog, "getExistingDirectory", return_value=str(tmp_path)):
        click(page.package)
    wait(lambda: header.state("export") == "warn")
    assert page.done.text().endswith("vain-package-01, of a network that finds nothing")
    assert page.done.objectName() == "warn"
    assert page.done.drawn() == page.done.text()  # 28 letters of a path, where all would fit
    assert opened.close()
    again = open_studio(restore=True)
    wait(lambda: again.workspace.evaluate_page.results)
    assert again.header.state("evaluate") == "warn"  # its scores are in view again, and its mark


def test_pictures_name_their_source_and_show_no_truth_unasked(opened, wait):
    project, space = opened.project, opened.workspace
    view, cloud = space.stage.frame_view, space.stage.cloud_view
    index = project.recording.splits["eval"][0]
    project.select_frame(index)
    wait(lambda: opened.director.frame.index == index)
    wait(lambda: f"frame {index + 1}, no pose yet: the sensor alone" in cloud.legend.text())
    assert len(cloud.cloud.model) == 0
    truth = opened.director.frame.truth[0]
    project.select_object(truth.object_id)
    click(view.show_truth)
    wait(lambda: "the truth, for comparison only" in cloud.legend.text())
    assert len(cloud.cloud.model) > 0
    click(view.show_truth)
    wait(lambda: "no pose yet" in cloud.legend.text())

    other = next(p.object_id for p in opened.director.frame.truth if p is not truth)
    twice = [PoseData(other, truth.R, truth.t), PoseData(other, truth.R, truth.t)]
    project.put_prediction(index, twice, "predicted by A at step 9")
    assert len(project.frame_poses()) == 2  # two instances of one object
    pose = PoseData(truth.object_id, truth.R, truth.t)
    project.put_prediction(index, [pose], "predicted by B at step 7")
    assert [p.object_id for p in project.frame_poses()] == [truth.object_id]  # none of A is left
    told = f"frame {index + 1}, predicted by B at step 7"
    assert view.note == told
    wait(lambda: view.rendering("predicted") is not None)
    said = view.canvas.grab().toImage()
    view.set_note("")
    assert view.canvas.grab().toImage() != said
    assert space.pose_panel.origin.text() == told
    wait(lambda: told in cloud.legend.text())


def test_a_run_that_learned_on_or_was_made_anew_is_asked_again(opened, trained, sample, tmp_path):
    """Poses of an earlier step stood there as those of the newest, or of a discarded run."""
    network, predictions = Network(trained), opened.predictions
    predictions.put(network, 1, 0, [])
    predictions.put(network, 2, 1, [])
    assert predictions.told(network).endswith("at step 2")
    assert predictions.poses(network, 0) is None
    assert predictions.poses(network, 1) == []
    run = shutil.copytree(trained, tmp_path / "run")
    frame, networks = open_dataset(sample).frame(0), Networks()
    networks.predict(str(run), frame)
    for file in (run / "checkpoints").glob("step_*.safetensors"):
        os.utime(file, ns=(1, 1))  # written again
    networks.predict(str(run), frame)
    assert len(networks._predictors) == 2
