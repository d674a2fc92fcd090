"""The window shows what was guessed, takes what the user knows, and sends it to every job."""

from __future__ import annotations

import shutil

import bags
import cv2
import numpy as np
import pytest
import recordings as world
import trimesh
from hands import click, drop
from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel
from step_files import step_box

from studio.panels.topics_dialog import TopicsDialog

pytestmark = pytest.mark.gui


def test_the_unit_of_cad_files(opened, tmp_path, wait):
    """359 mm in inches, which by themselves look like 141 mm in centimetres."""
    window, project = opened, opened.project
    part = trimesh.creation.box((120 * 2.3 / 25.4, 80 * 2.3 / 25.4, 60 * 2.3 / 25.4))
    part.export(tmp_path / "big_part.stl")
    window.opener.load_models([tmp_path / "big_part.stl"])
    wait(lambda: [m.name for m in project.models] == ["big_part"])
    space, panel = window.workspace, window.workspace.doctor_panel
    item = space.tree.item_of("object", project.models[0].object_id)
    assert item.text(1) == "141 mm?"
    assert "taken as cm" in item.toolTip(1)
    assert panel.unit.currentText() == "guessed: cm"
    wait(lambda: panel.report.get("models") and panel.report["models"][0]["name"] == "big_part")
    # it said "Unit is ambiguous": of which file, and where to settle it?
    (doubt,) = [w.text() for w in panel.findChildren(QLabel) if "is ambiguous" in w.text()]
    assert doubt.startswith("big_part.stl: unit is ambiguous")
    assert doubt.endswith("if that is wrong, choose it beside CAD unit (step 1, Doctor)")
    panel.unit.setFocus()
    QTest.keyClick(panel.unit, Qt.Key.Key_End)
    wait(lambda: project.unit == "inch")
    assert 1000 * project.models[0].diameter == pytest.approx(359.3, abs=0.2)
    assert space.tree.item_of("object", project.models[0].object_id).text(1) == "359 mm"
    wait(lambda: panel.report["models"][0]["diameter_m"] == pytest.approx(0.3593, abs=2e-4))
    assert "--set models.unit=inch" in " ".join(space.train_panel.spec().arguments())
    assert project.to_dict()["unit"] == "inch"
    QTest.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert project.unit == "auto"
    assert 1000 * project.models[0].diameter == pytest.approx(141.4, abs=0.2)
    assert panel.unit.currentText() == "guessed: cm"
    menu = space.tree.unit_menu()
    (inch,) = [a for a in menu.actions() if a.text() == "Unit: inch"]
    inch.trigger()
    wait(lambda: project.unit == "inch")


def test_the_unit_that_a_cad_file_states(opened, tmp_path, wait):
    pytest.importorskip("cascadio", reason="STEP is read by the extra [cad]")
    window, project = opened, opened.project
    step_box(tmp_path / "PART.STP", (3, 4, 5), "inch")
    before = len(project.models)
    drop(window, tmp_path / "PART.STP")
    wait(lambda: len(project.models) == before + 1)
    (part,) = [m for m in project.models if m.name == "PART"]
    space, panel = window.workspace, window.workspace.doctor_panel
    item = space.tree.item_of("object", part.object_id)
    assert item.text(1) == "180 mm"
    assert item.toolTip(1) == "Its file was read in inch, as stated or named."
    assert panel.unit.currentText() == "as stated: inch, mm"


def test_the_doctor_sees_several_files_and_its_symmetry_takes_effect(opened, tmp_path, wait):
    window, project = opened, opened.project
    files = [tmp_path / "can.stl", tmp_path / "slab.stl"]
    trimesh.creation.cylinder(30, 100, sections=32).export(files[0])
    trimesh.creation.box((120, 80, 60)).export(files[1])
    window.opener.load_models(files)
    wait(lambda: len(project.models) == 2)
    panel = window.workspace.doctor_panel
    said = set()
    wait(lambda: said.add(panel.verdict.text()) or len(panel.report.get("models", ())) == 2)
    assert any(text.startswith("Examining models: ") for text in said)  # not one word all along
    assert not any(m.symmetric for m in project.models)
    found = panel.report["findings"]
    (number,) = [i for i, f in enumerate(found) if f["code"] == "symmetry" and "can" in f["what"]]
    wait(lambda: panel.fix_buttons[number].isVisible())
    click(panel.fix_buttons[number])
    wait(lambda: any(m.symmetric for m in project.models))
    assert [m.name for m in project.models if m.symmetric] == ["can"]
    assert project.model_paths[0].parent == project.recording_path
    assert [round(1000 * m.diameter) for m in project.models] == [117, 156]
    QTest.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert project.model_paths == files
    assert not any(m.symmetric for m in project.models)


def test_a_damaged_file_is_named(opened, tmp_path, wait):
    root = world.folder(tmp_path / "data")
    sorted((root / "depth").iterdir())[1].write_bytes(b"")
    name = sorted((root / "depth").iterdir())[1].name
    panel = opened.workspace.doctor_panel
    drop(opened, root)
    wait(lambda: any(f["code"] == "files" for f in panel.report.get("findings", ())))
    wait(lambda: any("is empty" in w.text() for w in panel.findChildren(QLabel)))
    (told,) = [w.text() for w in panel.findChildren(QLabel) if "is empty" in w.text()]
    assert told == f"{name}: is empty"


def test_the_topics_of_a_dropped_bag_are_chosen(opened, tmp_path, wait):
    names = ("/a/color/image_raw", "/b/color/image_raw")
    path = tmp_path / "take.bag"
    with bags.Bag(path, "ros1") as bag:
        for n in range(3):
            time = bags.START_NS + n * bags.STEP_NS
            for camera, name in enumerate(names):
                s, frame = world.shot(10 * camera + n), f"camera{camera}"
                info = bag.info(world.K, s.rgb.shape[:2], time, frame)
                bag.put(name.replace("image_raw", "camera_info"), time, info)
                bag.put(name, time, bag.image(s.rgb, "rgb8", time, frame))
                depth = name.replace("color", "aligned_depth_to_color")
                bag.put(depth, time, bag.image(s.depth_mm, "16UC1", time, frame))
    window, chosen = opened, {}

    def choose() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, TopicsDialog):
            QTimer.singleShot(50, choose)
            return
        chosen["first"] = dialog.choice
        dialog.colour_box.setFocus()
        QTest.keyClick(dialog.colour_box, Qt.Key.Key_End)
        chosen["second"] = dialog.choice
        click(dialog.open_button)

    QTimer.singleShot(50, choose)
    drop(window, path)
    wait(lambda: window.project.recording_path == path)
    depths = [name.replace("color", "aligned_depth_to_color") for name in names]
    assert chosen["first"] == (names[0], depths[0], "/a/color/camera_info")
    assert chosen["second"] == (names[1], depths[1], "")
    assert f"colour {names[1]}" in window.project.recording.topics
    assert window.workspace.tree.item_of("recording", str(path)) is not None
    wait(lambda: window.director.frame is not None and window.director.frame.rgb.shape[0] == 48)
    assert (window.director.frame.rgb == world.shot(10).rgb).all()
    assert (tmp_path / "take.bag.topics.json").is_file()
    assert "take.bag.topics.json" in window.banner.text.text()


def test_why_no_corrected_copy_is_made_is_said(qapp, open_studio, sample, tmp_path, wait):
    """The command line says it; the window had faults, no button Fix, and no word about it."""
    recording = tmp_path / "recording"
    shutil.copytree(sample / "test" / "000001" / "rgb", recording / "rgb")
    shutil.copy(sample / "camera.json", recording)
    (recording / "depth").mkdir()
    for i, image in enumerate(sorted((recording / "rgb").iterdir())):
        depth = np.full((48, 48) if i else (96, 128), 900, np.uint16)  # the first one opens
        cv2.imwrite(str(recording / "depth" / f"{image.stem}.png"), depth)
    window = open_studio(recording)
    panel = window.workspace.doctor_panel
    wait(lambda: panel.report)
    assert panel.report["no_copy"]
    assert not panel.fix_buttons
    told = f"No corrected copy can be made: {panel.report['no_copy']}."
    assert panel.no_copy.isVisible()
    assert panel.no_copy.text() == told
    panel.copy_button.click()
    assert told in QApplication.clipboard().text()
    window.opener.open_paths([sample])
    wait(lambda: panel.report.get("kind") == "bop")
    assert not panel.no_copy.isVisible()
