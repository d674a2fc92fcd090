"""What importing costs and where imports may lead."""

from __future__ import annotations

import graphlib
import inspect
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import recordings as world

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "numpy", "cv2", "trimesh", "numba", "scipy", "matplotlib", "PIL",
         "psutil", "PySide6")  # fmt: skip


def _loaded(code: str) -> set[str]:
    """Top-level modules in a fresh process after `code`."""
    script = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


HELP = "from self6d import cli; assert cli.run(['--help']) == 0"
HELP_OF_ADAPT = "from self6d import cli; assert cli.run(['adapt', '--help']) == 0"


@pytest.mark.parametrize(
    "code",
    ["import self6d", "import self6d.cli", "import self6d.config", HELP, HELP_OF_ADAPT],
    ids=["self6d", "cli", "config", "help", "help of adapt"],
)
def test_light_imports_stay_light(code):
    assert _loaded(code).isdisjoint(HEAVY)


def test_faults_of_a_recording_are_told_without_torch(tmp_path):
    """In half a second, where torch alone takes two."""
    run, data, video = tmp_path / "run", tmp_path / "data", tmp_path / "a.mkv"
    world.folder(data, range(2))
    (data / "camera.json").write_text('{"fx": 4.2, "fy": 4.2, "cx": 32, "cy": 24}')
    run.mkdir()
    for name in ("run.json", "config.toml"):
        (run / name).write_text("")
    video.write_bytes(b"mkv")
    world.folder(tmp_path / "right", range(2))
    start = ["--from", str(run)]
    commands = [
        ["adapt", str(data), *start, "--out", str(tmp_path / "o")],
        ["optimize", str(data), "--frame", "0", "--object", "1", *start],
        ["optimize", str(tmp_path / "right"), "--frame", "9", "--object", "1", *start],
        ["predict", str(data), *start],
        ["predict", str(tmp_path / "right"), "--split", "x", *start],
        ["predict", str(video), *start],
        ["evaluate", str(tmp_path / "right"), str(run), "--split", "x"],
        ["train", "--models", str(run), "--camera", str(data), "--out", str(tmp_path / "o")],
    ]
    code = f"from self6d import cli\nfor c in {commands!r}:\n    assert cli.run(c) == 2, c"
    assert _loaded(code).isdisjoint(("torch", "numba", "trimesh", "scipy"))


def test_the_method_never_loads_qt():
    jobs = "import self6d.jobs, self6d.evaluation, self6d.packaging, self6d.datasets"
    compiler = "from torchvision.ops.roi_align import is_compile_supported as asked"
    code = f"""{jobs}, sys, torch
from self6d.engine.optimizer import AdamW
weight = torch.ones(3, requires_grad=True)
learns = AdamW([weight], fused=True)
weight.sum().backward()
learns.step()
learns.zero_grad()
learns.load_state_dict(learns.state_dict())
assert "torch._dynamo" not in sys.modules  # which takes as long as torch
{compiler}
assert asked("cpu") is True  # and is there for whoever asks
import torch._dynamo.utils
assert sys.modules["torch._dynamo.utils"].is_compile_supported("cpu") is True"""
    loaded = _loaded(code)
    assert {"torch", "torchvision"} <= loaded
    assert loaded.isdisjoint(("PySide6", "shiboken6", "pyqtgraph", "vispy", "studio"))


def test_the_helper_never_loads_qt():
    """Beside Qt every module that loads afterwards, torch's thousand too, loads more slowly."""
    loaded = _loaded(
        "import studio.engine.server, studio.engine.desk, studio.engine.requests.tracks"
    )
    assert "cv2" in loaded
    assert loaded.isdisjoint(("PySide6", "shiboken6", "pyqtgraph", "vispy", "torch"))


def test_no_import_runs_in_a_circle():
    """Imports for types count too; only the public door `self6d` stands beside the house."""
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("self6d", "studio", exclude_type_checking_imports=False)
    arrows = {
        module: graph.find_modules_directly_imported_by(module) - {"self6d"}
        for module in graph.modules - {"self6d"}
    }
    assert "studio.shell.window" in arrows["studio.shell.layout"]
    graphlib.TopologicalSorter(arrows).prepare()  # a circle is an error that names it


def test_rooms_and_files_stay_small():
    """At most 16 files a folder beside kernels and readers, at most 400 lines a file."""
    from self6d.datasets import registry

    python = [p for room in ("self6d", "studio") for p in (ROOT / room).rglob("*.py")]
    assert len(python) > 300
    long = [str(p.relative_to(ROOT)) for p in python if len(p.read_text().splitlines()) > 400]
    assert long == []
    readers = {
        vars(registry)[name].__name__
        for name in dir(registry)
        if inspect.ismodule(vars(registry)[name])
    }
    readers |= {"self6d.synthesis.pbr"}  # of BOP's train_pbr
    rooms = Counter(
        p.parent
        for p in python
        if p.name != "__init__.py"
        and ".".join(p.relative_to(ROOT).with_suffix("").parts) not in readers
    )
    ground = ROOT / "self6d"  # configuration, events, errors, files, ...
    assert {room: n for room, n in rooms.items() if n > 16 and room != ground} == {}
