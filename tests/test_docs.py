"""README and docs: links lead somewhere, what they name exists, and their code runs."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import pytest
import typer
import yaml

import self6d

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def text_of(page: Path | str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of a language; "" those without one."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    links = LINK.findall(text_of(name))
    for link in links:
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme():
    linked = set(LINK.findall(text_of("README.md")))
    assert {name for name in NAMES if name != "README.md"} <= linked


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 150


@pytest.mark.parametrize("name", NAMES)
def test_paragraphs_are_short(name):
    prose = re.sub(r"^ *```.*?^ *```$", "\n\n", text_of(name), flags=re.DOTALL | re.MULTILINE)
    rows = r"^\s*\|.*$"
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:-|\d+\.) )", re.sub(rows, "", prose, flags=re.MULTILINE))
    assert len(parts) > 5
    assert [part.strip()[:80] for part in parts if len(part) > 700] == []


def test_the_eight_questions_are_answered_by_the_tree():
    rows = re.findall(
        r"^\| (.+\?) \| `(.+?)` \| `(.+?)` \|$", text_of("docs/architecture.md"), re.M
    )
    assert len(rows) == 8
    for question, file, name in rows:
        tree = ast.parse(text_of(file))
        defined = {
            getattr(node, "name", None) or getattr(node, "id", None)
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        }
        assert name in defined, question


def test_the_arrows_are_drawn_as_they_are_checked():
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c.get("containers") == ["self6d"]]
    drawing = blocks("docs/architecture.md", "")[0].splitlines()
    place = {}
    for number, line in enumerate(drawing):
        for word in re.split(r"[\s,]+", re.split(r"\s{4,}", line.strip())[0]):
            place.setdefault(word, number)
    last = -1
    for layer in layers[:-1]:
        rooms = [room for room in re.split(r"[\s:|]+", layer) if room != "console"]
        assert {place[room] for room in rooms} == {place[rooms[0]]}, layer
        assert place[rooms[0]] >= last, layer
        last = place[rooms[0]]


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name):
    named = re.findall(
        r"`((?:self6d|studio|resources|scripts|tests|docs)/[\w/.-]+)`", text_of(name)
    )
    made = {
        "self6d/datasets/readers/rig.py",
        "studio/panels/frame_name.py",
    }  # by the walks of extending.md
    for path in set(named) - made:
        assert (ROOT / path).exists(), path


def commands_of(name: str) -> list[list[str]]:
    """Words of each `self6d-studio COMMAND ...` in a page's blocks, comments left out."""
    found = []
    for block in blocks(name, ""):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.replace("-m self6d.cli", "self6d-studio").partition("  #")[0]
            if "self6d-studio " in line:
                found.append(shlex.split(line.partition("self6d-studio ")[2]))
    return found


def test_commands_have_the_options_that_are_shown():
    from self6d.cli import app
    from self6d.config import preset_names

    group = typer.main.get_command(app)
    shown = [words for name in NAMES for words in commands_of(name)]
    assert len(shown) > 100
    for words in shown:
        if words[0] == "COMMAND":
            continue
        words = words[2:] if words[0] == "pack" else words  # a folder, then another command
        words = words[4:] if words[:2] == ["experiment", "repeat"] else words  # times, folder, ...
        command, rest = group, iter(words)
        while commands := getattr(command, "commands", None):
            command = commands[next(rest)]
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        asked = {word for word in words if word.startswith("--")}
        assert asked <= options | {"--help"}, words
        needed = [p for p in command.params if p.required and p.param_type_name == "option"]
        assert "--help" in asked or all(asked & set(p.opts) for p in needed), words
        for option, value in pairwise(words):
            assert option != "--preset" or value in preset_names(), words


def test_the_readme_lists_the_presets_with_their_stage():
    from self6d.config import preset_names

    rows = re.findall(r"^\| (`.+?`) \| ([12]|refiner) \|", text_of("README.md"), re.MULTILINE)
    listed = {name: stage for cell, stage in rows for name in re.findall(r"`(.+?)`", cell)}
    stages = (1, 2, "refiner")
    assert listed == {name: str(stage) for stage in stages for name in preset_names(stage)}


def test_settings_that_commands_set_exist():
    from self6d.config import describe
    from self6d.run_config import RunConfig

    known = {field.key for field in describe(RunConfig())}
    pairs = [pair for name in NAMES for words in commands_of(name) for pair in pairwise(words)]
    keys = {value.partition("=")[0] for option, value in pairs if option == "--set"}
    assert len(keys) > 40
    assert keys <= known


def test_settings_that_are_shown_exist():
    from self6d.config import describe
    from self6d.run_config import RunConfig

    known = {field.key for field in describe(RunConfig())} | {"loss.depth"}  # the walk's own
    for name in NAMES:
        for section in ("network", "synthesis", "train", "loss", "adapt", "optimize", "loop"):
            for key in re.findall(rf"[`\s]({section}\.\w+)(?=[=`])", text_of(name)):
                assert key in known, (name, key)


def test_messages_are_those_the_program_prints():
    sources = [p.read_text(encoding="utf-8") for p in ROOT.glob("self6d/**/*.py")]
    sources.append(text_of("scripts/setup.sh"))
    whole = "\n".join(re.sub(r'"\s*\n\s*f?"', "", source) for source in sources)
    cells = re.findall(r"^\| ([^|]+?) \|", text_of("docs/troubleshooting.md"), re.MULTILINE)
    messages = [m for cell in cells for m in re.findall(r"`([^`]+ [^`]+)`", cell)]
    assert len(messages) > 30
    assert [m for m in messages if m not in whole] == []


def test_exit_codes_are_those_of_the_errors():
    from self6d import errors

    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    codes = {k.exit_code for k in kinds if issubclass(k, errors.Self6DError)}
    table = text_of("docs/troubleshooting.md").partition("## Exit codes")[2]
    assert codes <= {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}


def test_the_reader_of_the_walk_reads(tmp_path, monkeypatch):
    import cv2

    from self6d.datasets import registry
    from self6d.errors import InputError

    reader, row = blocks("docs/extending.md", "python")[:2]
    rig = SimpleNamespace()
    exec(reader, vars(rig))
    layout = eval(row, {"Layout": registry.Layout, "rig": rig})
    monkeypatch.setattr(registry, "LAYOUTS", (layout, *registry.LAYOUTS))
    rgb = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    for name in ("0001", "0002"):
        cv2.imwrite(str(tmp_path / f"{name}.color.png"), rgb[..., ::-1])
    cv2.imwrite(str(tmp_path / "0001.depth.png"), np.full((6, 8), 12345, np.uint16))
    (tmp_path / "rig.txt").write_text("10 0 3.5 0 10 2.5 0 0 1")
    dataset = self6d.open_dataset(tmp_path)
    assert (dataset.kind, len(dataset), dataset.reason) == ("rig", 2, "rig.txt: our rig's layout")
    first, second = dataset.frame(0), dataset.frame(1)
    assert (first.rgb == rgb).all()
    assert first.depth_m == pytest.approx(1.2345)
    assert first.camera.K[0, 2] == 4.0
    assert second.depth_m is None
    (tmp_path / "rig.txt").write_text("ten")
    with pytest.raises(InputError, match="not nine numbers"):
        self6d.open_dataset(tmp_path)


def test_the_loss_term_of_the_walk_is_a_term():
    import torch

    from self6d.config_fields import Limits
    from self6d.losses.terms import Term

    code = blocks("docs/extending.md", "python")[2:6]
    names: dict = {}
    exec(code[0], names)
    sensor = torch.tensor([[[1.0, 2.0]], [[1.0, 1.0]]])
    drawn = torch.tensor([[[1.5, 9.0]], [[2.0, 2.0]]], requires_grad=True)
    held = torch.tensor([[[True, False]], [[False, False]]])
    value = names["depth_loss"](sensor, drawn, held)
    assert value.tolist() == [0.5, 0.0]
    value.sum().backward()
    assert drawn.grad.tolist() == [[[1.0, 0.0]], [[0.0, 0.0]]]
    row = eval(code[1], {"Term": Term})
    assert row.name == "depth"
    field = SimpleNamespace(Annotated=Annotated, Limits=Limits)
    exec(code[2], vars(field))
    assert eval(field.__annotations__["depth"], vars(field)) == Annotated[float, Limits(0)]
    assert field.depth == 0.0
    ones = torch.ones(2, 1, 2)
    seen = {
        "config": SimpleNamespace(depth=1.0),
        "target": SimpleNamespace(depth_m=sensor, usable=held, mask=ones),
        "rendering": SimpleNamespace(depth_m=drawn, covered=held),
        "seen": held,
        "terms": {},
        "depth_loss": names["depth_loss"],
    }
    exec(code[3], seen)
    assert seen["terms"]["depth"].tolist() == [0.5, 0.0]


def test_the_preset_of_the_walk_is_one(tmp_path):
    from self6d.run_config import build_config

    (text,) = blocks("docs/extending.md", "toml")
    (tmp_path / "mine.toml").write_text(text)
    config = build_config(str(tmp_path / "mine.toml"))
    assert (config.loss.geometry, config.loss.mask) == (0.0, 1.0)
    assert (config.adapt.steps, config.adapt.use_depth, config.adapt.lr) == (600, False, 5e-5)


@pytest.mark.gui
def test_the_panel_of_the_walk_follows_the_selection():
    from PySide6.QtWidgets import QApplication

    from studio.model.project import Project

    app = QApplication.instance() or QApplication([])
    names: dict = {}
    exec(blocks("docs/extending.md", "python")[6], names)
    project = Project()
    panel = names["FrameNamePanel"](project)
    assert panel.text.text() == "Open a recording first."
    project.recording = range(3)  # of what a recording is the panel asks for its length alone
    project.recordingChanged.emit()
    assert panel.text.text() == "Frame 1 of 3"
    project.select_frame(2)
    assert panel.text.text() == "Frame 3 of 3"
    app.processEvents()


def test_conventions_hold():
    for code in blocks("docs/conventions.md", "python"):
        exec(code, {})


def test_the_python_of_running_runs(tmp_path, capsys):
    from self6d.sample.sample import make_sample

    recording = make_sample(tmp_path / "sample", 7, 3, 1, size=(96, 128))
    shipped = ROOT / "resources" / "sample" / "stage1"
    names: dict = {}
    for code in blocks("docs/running.md", "python"):
        exec(code, names)
    dataset = names["look_around"](recording)
    assert len(dataset) > 3
    assert capsys.readouterr().out.count(" cm") == 3
    rgb, depth_m, mask = names["draw"](recording, shipped)
    assert rgb.shape == (3, 96, 128)
    assert depth_m.max() > 0
    assert mask.max() > 0.9
    small = {
        "adapt.batch": 2, "adapt.region": 48, "adapt.detection_score": 0.0,
        "adapt.health_frames": 2, "adapt.pseudo": False, "loss.perceptual": 0.0,
        "optimize.region": 48,
    }  # fmt: skip
    run = names["adapt_and_watch"](
        recording, shipped, tmp_path / "run", preset="self6d-tiny", steps=1, overrides=small
    )
    assert run.status == "done"
    assert "done" in capsys.readouterr().out


def test_the_citation_names_this_version_and_licence():
    cited = yaml.safe_load(text_of("CITATION.cff"))
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    assert cited["version"] == self6d.__version__
    assert cited["license"] == project["license"] == "Apache-2.0"
    assert "Apache License" in text_of("LICENSE")
    assert cited["title"] == project["name"]


def test_the_package_says_what_it_is():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    low, high = re.findall(r"3\.(\d+)", project["requires-python"])
    python = "Programming Language :: Python :: 3."
    stated = {c.removeprefix(python) for c in project["classifiers"] if c.startswith(python)}
    assert stated == {str(minor) for minor in range(int(low), int(high))}
    assert "Typing :: Typed" in project["classifiers"]
    assert (ROOT / "self6d" / "py.typed").is_file()
    assert (ROOT / project["readme"]).is_file()
    assert all((ROOT / name).is_file() for name in project["license-files"])
    cited = yaml.safe_load(text_of("CITATION.cff"))
    assert project["authors"] == cited["authors"]
    assert project["urls"]["Paper"] == cited["references"][0]["url"]


def test_the_public_names_are_listed():
    door = text_of("docs/architecture.md").partition("## The arrows")[0]
    assert set(self6d.__all__) <= set(re.findall(r"`(\w+)`", door))


def test_the_readme_names_the_layouts():
    from self6d.datasets.registry import LAYOUTS

    told = text_of("README.md").partition("`DATA` is a")[2].partition("\n\n")[0].lower()
    by_asking_alone = "cropped_linemod"
    for name in {layout.name for layout in LAYOUTS} - {by_asking_alone}:
        assert name.split("_")[0] in told, name
