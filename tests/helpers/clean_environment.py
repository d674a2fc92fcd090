"""A fresh virtual environment that sees what a wheel's metadata asks for, and nothing else.

The packages are those installed here, linked one by one: what no requirement leads to is absent, as
after `pip install` of the wheel, without fetching gigabytes again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def closure(requirements: Collection[str], extras: Collection[str] = ()) -> set[tuple[str, bool]]:
    """Names of all distributions that requirements lead to, each with whether it is installed."""
    found: dict[tuple[str, str], bool] = {}
    waiting = [(Requirement(text), extra) for text in requirements for extra in ("", *extras)]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) in found:
                continue
            try:
                distribution = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                found[name, wanted] = False
                continue
            assert requirement.specifier.contains(distribution.version, prereleases=True), name
            found[name, wanted] = True
            waiting += [(Requirement(text), wanted) for text in distribution.requires or ()]
    return {(name, there) for (name, _), there in found.items()}


def tops(name: str) -> set[str]:
    """What a distribution has at the top of site-packages."""
    parts = {file.parts[0] for file in metadata.distribution(name).files or ()}
    return parts - {"..", "__pycache__"}


class CleanEnvironment:
    """A virtual environment with a wheel in it.

    Attributes:
        site: its site-packages. missing: distributions asked for that are not installed here.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.site = next(folder.glob("lib/python*/site-packages"))
        self._run(
            sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install",
            "--quiet", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check",
            str(wheel),
        )  # fmt: skip
        about = next(iter(metadata.distributions(name="self6d-studio", path=[str(self.site)])))
        self.requires = list(about.requires or ())
        self.missing: set[str] = set()
        self._linked: set[str] = set()
        self.link()

    def link(self, *extras: str) -> None:
        """Make visible what the wheel and some of its extras ask for."""
        wanted = [text for text in self.requires if not text.startswith("self6d-studio[")]
        named = closure(wanted, extras)
        self.missing |= {name for name, there in named if not there}
        here = Path(metadata.distribution("torch").locate_file(""))
        for name in (name for name, there in named if there):
            for top in tops(name):
                if not (self.site / top).exists():
                    (self.site / top).symlink_to(here / top)
                    self._linked.add(top)

    def take_compiled(self, checkout: Path) -> None:
        """Loops that numba has compiled of the very same sources; compiling them takes a minute."""
        for cache in (checkout / "self6d").rglob("__pycache__"):
            place = self.site / cache.parent.relative_to(checkout)
            compiled = [*cache.glob("*.nbi"), *cache.glob("*.nbc")]
            if not compiled or not place.is_dir():
                continue
            (place / "__pycache__").mkdir(exist_ok=True)
            for file in compiled:
                shutil.copy(file, place / "__pycache__")
            for source in place.glob("*.py"):
                if source.read_bytes() == (cache.parent / source.name).read_bytes():
                    stamp = (cache.parent / source.name).stat().st_mtime_ns
                    os.utime(source, ns=(stamp, stamp))  # by which numba knows it

    @contextmanager
    def extras(self, *names: str) -> Iterator[None]:
        """With some extras, until the end of the context."""
        before = set(self._linked)
        self.link(*names)
        try:
            yield
        finally:
            for top in self._linked - before:
                (self.site / top).unlink()
            self._linked = before

    def run(self, program: str, *words: str, cwd: Path, code: int = 0) -> str:
        """Run one of its programs in a folder; its output. The exit code must be `code`."""
        return self._run(str(self.bin / program), *words, cwd=cwd, code=code)

    @staticmethod
    def _run(*words: str, cwd: Path | None = None, code: int = 0) -> str:
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        environment |= {"QT_QPA_PLATFORM": "offscreen", "PYTHONNOUSERSITE": "1"}
        done = subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr
