"""Long names of recordings, CAD files and runs leave panels their width, sentences their sense."""

import shutil

import pytest
from hands import click, drop
from PySide6.QtWidgets import QApplication, QLabel, QScrollArea

from studio.engine import Failure
from studio.toolkit.long_words import LONGEST, WrappedLabel, shortened

pytestmark = pytest.mark.gui

WORD = "Pumpengehaeuse_Deckel_rev7_final_final2_bitte_diese_nehmen"
WORDS = "Gehäuse Deckel – rev. 7 (final) final2 mit sehr langem Namen"


def test_the_middle_of_a_long_word_goes():
    assert shortened("a sentence of short words.") == "a sentence of short words."
    text = shortened(f"/data/{WORD}.ply: holds no faces.")
    assert text.startswith("/data/Pum…")
    assert text.endswith("diese_nehmen.ply: holds no faces.")
    assert max(map(len, text.split())) == LONGEST
    # of a name of several words only who knows it can take the middle out
    assert shortened(f"{WORDS} was found.") == f"{WORDS} was found."
    assert len(shortened(f"{WORDS} was found.", [WORDS])) <= LONGEST + len(" was found.")


def test_a_wrapped_label_has_the_whole_in_its_tool_tip(qapp):
    told = WrappedLabel(f"{WORD} has ended.")
    assert told.drawn().endswith(" has ended.")
    assert WORD not in told.drawn()
    assert told.text() == told.toolTip() == f"{WORD} has ended."
    told.setText("All is well.")
    told.setToolTip("of the run")
    assert told.drawn() == told.text() == "All is well."
    assert told.toolTip() == "of the run"


@pytest.mark.parametrize("name", [WORD, WORDS], ids=["one-word", "words"])
def test_no_panel_is_cut_by_a_long_name(qapp, open_studio, sample, trained, tmp_path, wait, name):
    """The doctor's values and half of every button under Pose stood outside of the panel."""
    scene = next((sample / "test").iterdir())
    recording = tmp_path / name
    for part in ("rgb", "depth"):
        shutil.copytree(scene / part, recording / part)
    shutil.copy(sample / "camera.json", recording)
    cad = tmp_path / f"{name}.ply"
    shutil.copy(next((sample / "models").glob("*.ply")), cad)
    window = open_studio()
    window.showNormal()
    window.resize(1024, 700)
    window.opener.open_paths([recording, cad])
    space = window.workspace
    wait(lambda: window.project.models and window.director.frame is not None)
    wait(lambda: space.doctor_panel.report.get("models"))
    run = tmp_path / "runs" / f"{name}-stage1-01"
    shutil.copytree(trained, run)
    drop(window, run)
    wait(lambda: run in window.project.known)
    for step in ("data", "synthetic", "selfsup", "evaluate", "export"):
        window.show_step(step)
        for i in range(space.inspector.count()):
            space.inspector.setCurrentIndex(i)
            qapp.processEvents()
            for area in (a for a in window.findChildren(QScrollArea) if a.isVisible()):
                cut = area.widget().width() - area.viewport().width()
                long = [w.text() for w in area.widget().findChildren(QLabel) if name in w.text()]
                assert cut <= 0, f"{cut} pixels are cut in {step}, {i}: {long}"
    assert space.pose_panel.title.toolTip() == window.project.models[0].name == name
    # on the banner the names are short, in its tool tip and the copy whole
    for text in (f"{run.name} waits until {run.name} has ended.", f"Opened {cad} of {recording}."):
        window.say("warn", text)
        shown = window.banner.text
        assert len(shown.drawn()) < 90
        assert name not in shown.drawn()
        assert shown.toolTip() == shown.text() == text
        click(window.banner.copy)
        assert QApplication.clipboard().text() == text
    window.show_error(Failure("holds no faces", path=str(cad.with_name(f"other {cad.name}"))))
    assert len(window.banner.text.drawn()) < 60
    assert window.banner.text.drawn().endswith(".ply: holds no faces")
