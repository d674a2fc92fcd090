"""What importing costs and where imports may lead."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "cv2", "trimesh", "numba", "scipy", "matplotlib", "PySide6")


def _loaded(code: str) -> set[str]:
    """Top-level modules in a fresh process after `code`."""
    script = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import self6d", "import self6d.cli", "import self6d.config"])
def test_light_imports_stay_light(code):
    assert _loaded(code).isdisjoint(HEAVY)


def test_the_method_never_loads_qt():
    code = "import self6d.jobs, self6d.evaluation, self6d.packaging, self6d.datasets"
    loaded = _loaded(code)
    assert "torch" in loaded
    assert loaded.isdisjoint(("PySide6", "shiboken6", "pyqtgraph", "vispy", "studio"))
