"""A run's whole command: what the panels collect, the runners start and run.json tells again."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from studio.jobs.run_info import RESUMABLE, RunInfo

TITLES = {
    "train": "Stage 1, synthetic",
    "adapt": "Stage 2, self-supervision",
    "optimize": "Single image",
    "track": "Tracking",
    "demo": "Demo",
}

PLAIN_OUTPUT = {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"}
"""Environment of a job's process, whose output goes to a file."""

NEEDS = {
    "train": ("--models",),
    "adapt": ("the recording", "--from"),
    "optimize": ("the recording", "--frame", "--object", "--from or --init"),
    "track": ("the recording", "--from, --init or --search"),
}


@dataclass(frozen=True)
class JobSpec:
    """All that decides a run: exactly what the shell command says, so the two are the same run.

    Attributes:
        kind: "train", "adapt", "optimize" or "track".
        out: the run folder it makes.
        models: CAD files or one folder.
        overrides: dotted configuration keys to values that differ from the preset's.
        options: further command line options, such as {"frame": 3, "object": 1}; a tuple is
            an option given several times.
    """

    kind: str
    out: Path
    data: Path | None = None
    models: tuple[Path, ...] = ()
    from_run: Path | None = None
    preset: str | None = None
    split: str | None = None
    seed: int | None = None
    device: str | None = None
    steps: int | None = None
    minutes: float | None = None
    resume: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def lacks(self) -> list[str]:
        """What its command cannot do without and is not there."""
        there = {
            "--models": self.models, "the recording": self.data, "--from": self.from_run,
            "--frame": self.options.get("frame") is not None,
            "--object": self.options.get("object") is not None,
            "--from or --init": self.from_run or self.options.get("init"),
            "--from, --init or --search": self.from_run or self.options.get("init")
            or self.options.get("search"),
        }  # fmt: skip
        if self.kind not in NEEDS:
            return [f"a command that makes runs of kind {self.kind!r}"]
        return [name for name in NEEDS[self.kind] if not there[name]]

    @property
    def resumable(self) -> bool:
        """Whether its command knows --resume; a single image is quicker done again."""
        return self.kind in RESUMABLE

    @property
    def title(self) -> str:
        return TITLES.get(self.kind, self.kind)

    def arguments(self) -> list[str]:
        """The command line after the program's name."""
        from self6d.config import assignment  # not before the first paint

        words = [self.kind]
        if self.data is not None:
            words.append(str(self.data))
        for model in self.models:
            words += ["--models", str(model)]
        for option, value in (
            ("--from", self.from_run), ("--preset", self.preset), ("--split", self.split),
            ("--seed", self.seed), ("--device", self.device), ("--steps", self.steps),
            ("--minutes", self.minutes),
        ):  # fmt: skip
            if value is not None:
                words += [option, str(value)]
        for name, value in self.options.items():
            if value is True:
                words.append(f"--{name}")
            elif isinstance(value, tuple):
                for one in value:
                    words += [f"--{name}", str(one)]
            elif value is not None and value is not False:
                words += [f"--{name}", str(value)]
        for key, value in self.overrides.items():
            words += ["--set", assignment(key, value)]
        words += ["--out", str(self.out)]
        if self.resume:
            words.append("--resume")
        return words

    def command(self) -> list[str]:
        """What the process runner starts."""
        return [sys.executable, "-m", "self6d.cli", *self.arguments()]

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold of it, see `from_dict`."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.loads(json.dumps(told, default=str))

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> JobSpec:
        """What `to_dict` gave; KeyError, TypeError or ValueError where it is something else."""
        path = lambda text: None if text is None else Path(text)  # noqa: E731
        options = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stored["options"].items()
        }
        return cls(**{
            **stored, "out": Path(stored["out"]), "data": path(stored["data"]),
            "from_run": path(stored["from_run"]), "options": options,
            "models": tuple(Path(model) for model in stored["models"]),
        })  # fmt: skip

    def shell(self) -> str:
        """The same run for a terminal."""
        return self.shell_line(self.arguments())

    @staticmethod
    def shell_line(words: list[str]) -> str:
        """Any of the program's commands, quoted for a terminal."""
        return shlex.join(["self6d-studio", *words])


def spec_from(info: RunInfo) -> JobSpec:
    """The whole command of a run, as its run.json tells it."""
    about = info.provenance
    path = lambda text: None if text is None else Path(text)  # noqa: E731
    options = {
        "camera": about.camera,
        "no-check": about.no_check or None,
        "share": None if about.share == 1 else about.share,
        "frame": about.frame,
        "scene": about.scene,
        "object": about.object_id,
        "init": None if about.init is None else str(info.path / about.init),
        "poses": None if about.poses is None else str(info.path / about.poses),
        "cut": about.cuts or None,
        "keep": None if about.keep is None else str(info.path / about.keep),
    }
    if info.kind == "track" and about.init is None and about.from_run is None:
        options["search"] = True
    return JobSpec(
        kind=info.kind,
        out=info.path,
        data=path(about.data),
        models=tuple(Path(model) for model in about.models),
        from_run=path(about.from_run),
        preset=about.preset,
        split=about.split,
        seed=info.seed or None,
        device=None if about.device == "auto" else about.device,
        steps=about.steps,
        minutes=about.minutes,
        overrides=about.overrides,
        options={name: value for name, value in options.items() if value is not None},
    )
