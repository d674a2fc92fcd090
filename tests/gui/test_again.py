"""Resume, Duplicate and Copy as command from run.json alone: the command they give, really run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hands import click, drop
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog
from small_runs import STAGE_2

from self6d import cli, jobs
from self6d.datasets import open_dataset
from self6d.events import Scalars
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from studio.controllers.runs import again
from studio.jobs.queue import JobQueue
from studio.jobs.run_info import read_run
from studio.jobs.spec import JobSpec, spec_from
from studio.toolkit.dialogs import Facts
from studio.training.settings import told as facts_of

pytestmark = pytest.mark.gui


def said(run: Path) -> tuple:
    """All that decides a run, as its folder tells it."""
    folder = RunFolder.open(run)
    return folder.kind, folder.status, folder.seed, folder.config, folder.info["provenance"]


@pytest.fixture(scope="module")
def given(sample, trained, quick, tmp_path_factory) -> dict[str, JobSpec]:
    """A command of each kind, with settings of every sort."""
    root = tmp_path_factory.mktemp("made runs")
    preset = root / "my preset.toml"
    preset.write_text("[adapt]\nema = 0.9\n")
    label = open_dataset(sample).split("eval").truth(0)[0]
    start = root / "start.json"
    pose = {"R_m2c": label.pose.R_m2c.tolist(), "t_m2c_m": label.pose.t_m2c.tolist()}
    start.write_text(json.dumps(pose))
    return {
        "train": JobSpec(
            "train", root / "train-01", models=(sample / "models",), preset="tiny", seed=5,
            device="cpu", steps=2, options={"camera": sample},
            overrides={**quick, "train.lr": 1e-05, "network.backbone": "resnet10-w8"},
        ),
        "adapt": JobSpec(
            "adapt", root / "adapt-01", data=sample, from_run=trained, preset=str(preset),
            split="eval", seed=3, steps=1, minutes=90.0, overrides=STAGE_2,
            options={"share": 0.5, "no-check": True},
        ),
        "optimize": JobSpec(
            "optimize", root / "pose-01", data=sample, seed=2, steps=3, preset="self6d-plus",
            options={"frame": open_dataset(sample).split("eval").keys[0].image_id,
                     "object": label.object_id, "init": start},
            overrides=STAGE_2 | {"optimize.starts": 2},
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(given) -> dict[str, Path]:
    """The runs that they make."""
    for spec in given.values():
        assert cli.run([*spec.arguments(), "--quiet"]) == 0
    given["optimize"].options["init"].unlink()  # the run has its own
    return {kind: spec.out for kind, spec in given.items()}


@pytest.mark.parametrize("kind", ["train", "adapt", "optimize"])
def test_copied_command_makes_the_same_run(made, kind):
    spec = again(spec_from(read_run(made[kind])))
    assert spec.out == made[kind].with_name(made[kind].name.replace("-01", "-02"))
    assert cli.run([*spec.arguments(), "--quiet"]) == 0
    assert said(spec.out) == said(made[kind])


def test_resumed_command_goes_on_with_the_same_run(made, sample, trained, tmp_path):
    spec = replace(spec_from(read_run(made["adapt"])), out=tmp_path / "run")
    whole = replace(spec, steps=3, out=tmp_path / "whole")
    control = Control()

    def stop(event: object) -> None:
        if isinstance(event, Scalars):
            control.stop()

    first = jobs.adapt(
        spec.data, None, spec.from_run, spec.out, preset=spec.preset, split=spec.split, steps=3,
        minutes=spec.minutes, seed=3, overrides=spec.overrides, listener=stop,
        control=control, share=0.5, check=False,
    )  # fmt: skip
    assert first.status == "stopped"
    before = first.config
    told = spec_from(read_run(spec.out))
    assert cli.run([*replace(told, resume=True).arguments(), "--quiet"]) == 0
    assert cli.run([*whole.arguments(), "--quiet"]) == 0
    assert RunFolder.open(spec.out).config == before
    assert said(spec.out) == said(whole.out)
    shell = ["adapt", str(sample), "--from", str(trained), "--out", str(spec.out), "--resume"]
    assert cli.run([*shell, "--steps", "4", "--quiet"]) == 0  # a shell that names no share or split
    longer = spec_from(read_run(spec.out))
    assert longer == replace(told, steps=4)
    assert RunFolder.open(spec.out).info["step"] == 4


def test_duplicated_settings_are_those_of_the_run(opened, made, sample, wait):
    space = opened.workspace
    for kind, panel in (
        ("train", space.train_panel), ("adapt", space.adapt_panel), ("optimize", space.pose_panel),
    ):  # fmt: skip
        told = spec_from(read_run(made[kind]))
        opened.runs.act("duplicate", made[kind])
        wait(lambda: opened.director.frame is not None)
        spec = panel.spec()
        given = replace(spec, out=told.out, models=(), options={})
        assert given == replace(told, models=(), options={})
        assert spec.models == (sample / "models",)
        options = {name: str(value) for name, value in spec.options.items()}
        expected = {name: str(value) for name, value in told.options.items()}
        if kind == "optimize":
            start, own = (json.loads(Path(o.pop("init")).read_text()) for o in (options, expected))
            assert start == own
        assert options == expected
        if kind != "optimize":  # nothing seemed to happen where they stood there already
            assert opened.banner.isVisible()
            told = f"The settings of {told.out.name} are here: change what shall differ, then run."
            assert opened.banner.text.text() == told
            opened.banner.dismiss()
        assert not opened.banner.isVisible()


def choose(tree, run: Path, text: str) -> None:
    """Open a run's menu with the mouse and click an entry."""

    def pick() -> None:
        menu = QApplication.activePopupWidget()
        if menu is None:
            QTimer.singleShot(20, pick)
            return
        (action,) = [a for a in menu.actions() if a.text() == text]
        assert action.isEnabled()
        QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())

    view = tree.tree
    at = view.visualItemRect(tree.item_of("run", str(run))).center()
    QTimer.singleShot(0, pick)
    event = QContextMenuEvent(
        QContextMenuEvent.Reason.Mouse, at, view.viewport().mapToGlobal(at)
    )  # fmt: skip
    QApplication.sendEvent(view.viewport(), event)


def test_after_a_restart_the_menus_say_the_same(open_studio, made, given, sample, wait, tmp_path):
    stopped = tmp_path / "cut-01"
    shutil.copytree(made["adapt"], stopped)
    RunFolder.open(stopped).update(status="stopped")
    window = open_studio(sample)
    wait(lambda: window.project.models)
    for run in (made["train"], made["adapt"], stopped):
        drop(window, run)
        wait(lambda run=run: window.project.run == run)
    window.close()
    window = open_studio(restore=True)
    wait(lambda: len(window.project.runs) == 3 and window.project.models)
    tree, space = window.workspace.tree, window.workspace
    for kind, panel in (("train", space.train_panel), ("adapt", space.adapt_panel)):
        spec = again(given[kind])
        QApplication.clipboard().clear()
        choose(tree, made[kind], "Copy as command")
        told = f"In the clipboard: the command that makes {spec.out.name}."
        assert (window.banner.isVisible(), window.banner.text.text()) == (True, told)
        words = shlex.split(QApplication.clipboard().text())
        assert sorted(words) == sorted(["self6d-studio", *spec.arguments()])
        choose(tree, made[kind], "Duplicate with changes…")
        twin = replace(panel.spec(), out=spec.out, models=spec.models)
        assert sorted(twin.arguments()) == sorted(spec.arguments())
    choose(tree, made["adapt"], "Its settings…")
    facts = next(w for w in QApplication.topLevelWidgets() if isinstance(w, Facts))
    click(facts.copy)
    assert facts.copy.text() == "Copied"
    said_there = QApplication.clipboard().text()
    assert "Seed: 3\n" in said_there
    assert "Frames: eval\n" in said_there
    assert f"Start run: {given['adapt'].from_run}" in said_there
    assert "adapt.region (not the preset's): 48" in said_there
    assert re.search(r"result: mask agreement: \d+ %\n", said_there)  # not mask_iou 0.894610404968
    facts.close()
    choose(tree, stopped, "Resume")
    (job,) = window.queue.jobs
    expected = replace(given["adapt"], out=stopped, resume=True)
    assert sorted(job.spec.arguments()) == sorted(expected.arguments())
    job.kill()
    wait(lambda: job.state.over)


def test_a_job_is_packed_for_another_machine_from_the_window(opened, made, given, wait, tmp_path):
    window = opened
    drop(window, made["adapt"])
    wait(lambda: window.project.run == made["adapt"])
    window.banner.dismiss()
    with mock.patch.object(QFileDialog, "getExistingDirectory", return_value=str(tmp_path)):
        choose(window.workspace.tree, made["adapt"], "Take to another machine…")
    folder = tmp_path / f"{again(given['adapt']).out.name}-job-01"
    assert window.workspace.unfinished() == ["a job's folder"]
    wait(lambda: window.banner.isVisible())
    assert f"{folder} holds all that the job reads" in window.banner.text.text()
    assert window.banner.objectName() == "banner_good"  # it was told as a warning, to stay
    assert not window.banner._timer.isActive()
    assert "--from from " in (folder / "run.sh").read_text()
    assert not window.workspace.unfinished()

    # what comes back is of this recording and begins from that run, as if it had been made here
    (tmp_path / "bin").mkdir()
    there = tmp_path / "bin" / "self6d-studio"  # stands for what makes the run
    source, data = shlex.quote(str(made["adapt"])), folder / "data"
    name = again(given["adapt"]).out.name
    there.write_text(f"#!/bin/sh\nmkdir runs && cp -r {source} runs/{name}\n")
    there.chmod(0o755)
    path = {**os.environ, "PATH": f"{there.parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", folder / "run.sh"], check=True, env=path)
    (back,) = (folder / "runs").iterdir()
    told = RunFolder.open(back).info["provenance"]
    told |= {"data": str(data), "from_run": str(folder / "from"), "models": []}
    RunFolder.open(back).update(provenance=told)
    home = read_run(back).provenance
    assert (home.data, home.from_run) == (str(given["adapt"].data), str(given["adapt"].from_run))
    drop(window, back)
    wait(lambda: window.project.run == back)
    click(window.header.buttons["selfsup"])
    assert window.workspace.helped.card.offered == (given["adapt"].from_run, back)
    assert back in window.workspace.evaluate_page.chosen()
    folder.rename(tmp_path / "gone")  # elsewhere paths that lead nowhere are as they are told
    (tmp_path / "gone" / "runs" / back.name / "home.json").write_text('{"data": "/not/here"}')
    assert read_run(tmp_path / "gone" / "runs" / back.name).provenance.data == str(data)


def test_a_track_is_made_again_with_its_cuts(block_recording, tmp_path):
    """They were left out of what Duplicate, Copy as command and Take to another machine give."""
    told = {"data": str(block_recording), "init": "starts.json", "cuts": [2, 4]}
    run = RunFolder.create(tmp_path / "a-track-01", "track", {}, told)
    spec = spec_from(read_run(run.path))
    words = spec.arguments()
    assert [words[i + 1] for i, word in enumerate(words) if word == "--cut"] == ["2", "4"]
    assert dict(facts_of(read_run(run.path), spec))["cut"] == "2, 4"


def test_a_run_that_learned_a_track_is_duplicated_with_it(opened, made, sample, wait):
    """The track was left out without a word: the twin adapted by other means."""
    window, panel = opened, opened.workspace.adapt_panel
    learned = {**RunFolder.open(made["adapt"]).info["provenance"], "poses": "poses.json"}
    run = RunFolder.create(window.settings.runs_folder / "a", "selfsup", {}, learned)
    window.project.add_run(made["train"])
    window.project.add_run(run.path)
    choose(window.workspace.tree, run.path, "Duplicate with changes…")
    wait(lambda: panel.from_track.isVisible())
    assert panel.spec().options["poses"] == str(run.path / "poses.json")
    assert "in a." in panel.from_track.told.text()
    assert "no effect" in panel.weights_note.text()
    click(panel.from_track.drop)
    assert "poses" not in panel.spec().options
    QTest.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert "poses" in panel.spec().options


def test_what_a_run_cannot_tell_is_said(opened, made, tmp_path):
    odd = RunFolder.create(tmp_path / "bound", "upper_bound", {})
    opened.runs.act("copy", odd.path)
    assert "'upper_bound'" in opened.banner.text.text()
    old = RunFolder.create(tmp_path / "old", "selfsup", {}, {"data": "/d", "split": "all"})
    opened.runs.act("resume", old.path)
    assert "start run missing" in opened.banner.text.text()
    assert not opened.queue.jobs
    opened.runs.act("resume", made["optimize"])
    assert "not resumed" in opened.banner.text.text()
    assert not opened.queue.jobs


def test_newest_failure_is_shown_not_an_older_one(qapp, sample, tmp_path, wait):
    run = RunFolder.create(tmp_path / "run", "synthetic", {})
    run.update(status="failed", error="the disk was full that day")
    (run.path / "events.jsonl").write_text('{"type": "finished", "step": 4, "reason": "done"}\n')
    queue = JobQueue()
    for spec in (
        JobSpec("train", run.path, models=(sample / "models",), overrides={"train.bacth": 2},
                resume=True),
        JobSpec("train", run.path, models=(sample / "models",)),
    ):  # fmt: skip
        job = queue.submit(spec)
        wait(lambda job=job: job.state.over)
        assert "that day" not in job.ending.reason
        assert ("train.bacth" if spec.resume else "is not empty") in job.ending.reason
    queue.close()
