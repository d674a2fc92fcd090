"""What people come for, as X events: from a fresh home to an exported network, in few clicks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from real_hands import Studio

MOST_CLICKS = 12
SPACE = "window().workspace"
JOB = "window().runs.job"
BAR = "window().job_bar.text.text()"


def put_sample(home: Path, sample: Path) -> None:
    """Where "Open sample" keeps the sample it has generated: it is opened then, not made."""
    shutil.copytree(sample, home / ".local" / "state" / "self6d-studio" / "sample")


def make_plain(folder: Path, sample: Path) -> tuple[Path, Path]:
    """A plain folder of the sample's frames (rgb/, depth/, camera.json), and one CAD file."""
    scene, recording = sample / "test" / "000001", folder / "drill"
    for name in ("rgb", "depth"):
        shutil.copytree(scene / name, recording / name)
    camera = json.loads((sample / "camera.json").read_text())
    (recording / "camera.json").write_text(json.dumps(camera))
    return recording, Path(shutil.copy(sample / "models" / "obj_000001.ply", folder / "flask.ply"))


def wait_for_job(studio: Studio, kind: str) -> None:
    studio.wait(f"{JOB} is not None and {JOB}.spec.kind == {kind!r} and {JOB}.state.over")


def open_sample(studio: Studio) -> None:
    studio.shoot("1-welcome")
    studio.click("Open sample")
    studio.wait("window().job_bar.go.text() == 'Go to stage 2'")
    studio.wait(f"bool({SPACE}.doctor_panel.report) and not window().worker.busy")
    studio.wait("not window().engine.busy")
    studio.shoot("2-data")
    studio.click("Go to stage 2")
    studio.wait("button('Run self-supervision')")


def look_back(studio: Studio) -> None:
    """Once the run has ended: did it help, and how right is it."""
    studio.wait(f"{SPACE}.helped.comparison.verdict is not None")
    studio.wait(f"{SPACE}.bottom.currentWidget() is {SPACE}.helped.card")
    studio.wait(f"not {SPACE}.helped.comparison.busy and not window().engine.busy")
    studio.shoot("4-did-it-help")
    studio.click("Go to Evaluate")
    studio.click("Evaluate")
    studio.wait(f"{SPACE}.evaluate_page.results")
    studio.shoot("5-evaluate")


def export(studio: Studio, *, onnx: bool) -> Path:
    """Write the package into the home folder; where it is."""
    studio.click("Go to Export")
    if not onnx:
        studio.click("Also write ONNX")
        studio.wait(f"not {SPACE}.export_page.onnx.isChecked()")
    studio.click("Export package…")
    studio.choose_file("Make the package in", studio.home)
    studio.wait("window().header.state('export') == 'ok'")
    studio.wait("button('Show folder')")
    studio.shoot("6-export")
    return Path(studio.see(f"str({SPACE}.export_page.written)"))


def open_plain(studio: Studio, cad: Path) -> None:
    """One CAD file to the plain folder that `launch` was given; to stage 1 with them."""
    studio.wait("window().job_bar.go.text() == 'Open CAD models…'")
    studio.wait("window().director.frame is not None and not window().engine.busy")
    studio.wait(f"bool({SPACE}.doctor_panel.report)")
    studio.shoot("1-recording")
    studio.click("Open CAD models…")
    studio.choose_file("Open CAD models", cad)
    studio.wait("window().project.models and button('Go to stage 1')")
    if studio.shots is not None:
        studio.wait(f"bool({SPACE}.doctor_panel.report) and not window().worker.busy")
    studio.shoot("2-objects")
    studio.click("Go to stage 1")
    studio.wait(f"{SPACE}.train_panel.form.ready")


def place_plain(studio: Studio, at: list[int]) -> None:
    """Put the object down by a click on it, then let it be searched for.

    Args:
        at: where it is on the screen.
    """
    studio.click_at(studio.wait("place(window().header.buttons['data'])"))
    studio.click("Place the object")
    studio.wait(f"{SPACE}.pose_panel.edit.isChecked()")
    studio.click_at(at)
    studio.wait("window().project.pose() is not None and not window().engine.busy")
    studio.click("Search")
    studio.wait(f"{SPACE}.pose_panel.search.isEnabled() and button('Track')")
    studio.click("Close")  # what says so lies on the picture
    studio.wait("not window().engine.busy")


def track_plain(studio: Studio) -> None:
    """Follow the object through all frames, and look at the middle one."""
    studio.click("Track")
    wait_for_job(studio, "track")
    studio.wait("window().project.track is not None and bool(window().project.track.rows)")
    studio.click("Close")
    studio.click_at(studio.wait("tab('Track')"))
    studio.click_at(studio.wait(f"place({SPACE}.stage.scrubber)"))
    studio.wait("window().director.frame.index == window().project.frame_index > 0")
    studio.wait("not window().engine.busy")


def train_and_adapt_plain(studio: Studio) -> None:
    """Both stages for a few steps each."""
    studio.fill("Steps", "2")
    studio.click("Train on synthetic images")
    wait_for_job(studio, "train")
    # it says itself that it is right nowhere; whoever goes on all the same may do so
    studio.wait(f"'not one pose of drill-train-01 is right' in {BAR}")
    studio.click_at(studio.wait("place(window().header.buttons['selfsup'])"))
    studio.fill("Steps", "2")
    # a network of two steps is sure of nothing: take what it finds
    studio.wait(f"{SPACE}.adapt_panel.form.ready")
    studio.click_widget(f"{SPACE}.adapt_panel.form.filter")
    studio.type("detection_score")
    studio.click_widget(f"{SPACE}.adapt_panel.form.editor('adapt.detection_score').box")
    studio.key("ctrl+a")
    studio.type("0.01")
    studio.key("Return")
    studio.click("Run self-supervision")
    wait_for_job(studio, "adapt")
