"""Shared by all tests: devices, markers, seeds, run folders, leak checks."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import made_once
import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Where processes share cores, OpenMP's threads wait for one another: a step of a small network then
# takes 30 times as long. Read by the libraries when they load, here and in the tests' processes;
# numba would otherwise change the number of torch's threads too.
ONE_THREAD = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
for _name in ONE_THREAD:
    os.environ.setdefault(_name, "1")
# As the command line has it: where a test asks for two, one that waits would spin on the cores of
# the other workers.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Long files first, so that all workers end together. The very first compiles the renderer's loops,
# which numba keeps; those after it need none, so that no worker compiles them again meanwhile.
FIRST = (
    "test_same_twice.py",
    "network/",
    "test_imports.py",
    "datasets/test_any_way_of_writing.py",
    "gui/",
    "evaluation/test_bop_letter.py",
    "packaging/",
    "jobs/",
    "stage1/",
    "stage2/",
    "faults/",
    "refinement/",
    "tracking/",
    "live/",
    "laptop/",
    "test_",
)

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1 ...

hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("suite")


def real_data_folder() -> Path | None:
    """Folder of real recordings: SELF6D_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("SELF6D_DATA") or ROOT.parent / "shared" / "data")
    return folder if folder.is_dir() else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="device of the device fixture, such as cuda")
    parser.addoption("--dtype", default="float32", help="dtype of the dtype fixture")


def pytest_configure(config: pytest.Config) -> None:
    """Windows on one display take the keyboard from each other: every worker has its own."""
    if not WORKER or shutil.which("Xvfb") is None:
        return
    number, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    config.add_cleanup(server.terminate)
    with os.fdopen(number) as told:
        display = told.readline().strip()  # empty: it did not start
    if display:
        os.environ["DISPLAY"] = f":{display}"


def pytest_sessionstart() -> None:
    gc.disable()  # nothing that is imported is garbage


def pytest_collection_finish() -> None:
    """The million objects of the libraries are not walked again and again by every test."""
    gc.enable()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _what_stays_is_walked_once() -> Iterator[None]:
    """Nor are those of libraries that a file was the first to load, and of the session."""
    yield
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Every other worker reads the files backwards: it finds compiled what another has read."""
    report = yield
    if WORKER[-1:] in ("1", "3", "5", "7", "9") and isinstance(collector, pytest.Directory):
        report.result.reverse()
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marked = {mark.name for item in items for mark in item.iter_markers()}
    reasons = {}
    if "gpu" in marked and not _has_gpu():
        reasons["gpu"] = "no CUDA device"
    if "gui" in marked and not _has_display():
        reasons["gui"] = "no display (run under xvfb-run)"
    if "real" in marked and real_data_folder() is None:
        reasons["real"] = "no real data (SELF6D_DATA)"
    for item in items:
        for name, reason in reasons.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, str]:
    path = item.path.relative_to(ROOT / "tests").as_posix()
    return next((n for n, first in enumerate(FIRST) if path.startswith(first)), len(FIRST)), path


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _has_display() -> bool:
    return sys.platform in ("win32", "darwin") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


@pytest.fixture(scope="session", autouse=True)
def _made_once_here(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The workers' own folders lie in one of the session."""
    base = tmp_path_factory.getbasetemp()
    made_once.folder = base.parent if WORKER else base


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Sums are made in the same order on every machine; and see `ONE_THREAD`."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_stray_randomness() -> None:
    """Code draws from its own generators; whatever does not must at least not vary."""
    import numpy as np
    import torch

    torch.default_generator.manual_seed(0)
    if _has_gpu():  # else torch.manual_seed notes where it was called from, for when there is one
        torch.cuda.manual_seed_all(0)
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(autouse=True)
def _own_state_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs and settings of the tests never reach the user's."""
    monkeypatch.setenv("SELF6D_STATE", str(tmp_path_factory.getbasetemp() / "state"))


@pytest.fixture
def device(request: pytest.FixtureRequest):
    """torch.device from --device."""
    import torch

    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def dtype(request: pytest.FixtureRequest):
    """torch.dtype from --dtype."""
    import torch

    return getattr(torch, request.config.getoption("--dtype"))


@pytest.fixture
def generator(device):
    """Seeded torch.Generator on the device."""
    import torch

    return torch.Generator(device=device).manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real recordings; use with the marker `real`."""
    folder = real_data_folder()
    if folder is None:
        pytest.skip("no real data (SELF6D_DATA)")
    return folder


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    """Where a run folder may be made."""
    return tmp_path / "run"


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fails if the test leaves threads, child processes or open files behind."""
    me = psutil.Process()
    threads = set(threading.enumerate())
    children = {child.pid for child in me.children(recursive=True)}
    files = me.num_fds() if hasattr(me, "num_fds") else 0
    yield
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        new_threads = [t for t in threading.enumerate() if t not in threads and not t.daemon]
        new_children = [c for c in me.children(recursive=True) if c.pid not in children]
        new_files = (me.num_fds() if files else 0) - files
        if not new_threads and not new_children and new_files <= 0:
            return
        time.sleep(0.05)
    pytest.fail(f"left behind: threads {new_threads}, processes {new_children}, {new_files} files")
