"""What a run folder says about itself, read without torch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from self6d.errors import InputError
from self6d.files import read_json
from self6d.locks import is_held, read_owner
from self6d.runs.provenance import COMMANDS, HOME, Provenance

RESUMABLE = ("train", "adapt", "track")
NETWORKS = ("train", "adapt")  # kinds that make a network of poses


NOTHING_RIGHT = "not one pose was right on its own validation images"
BRIEF = 28  # letters of a run's name in a sentence
NAMED = 3  # runs that a sentence names


def brief(name: str) -> str:
    """A name for a sentence: of a long one beginning and end, where runs of one stem differ."""
    return name if len(name) <= BRIEF else f"{name[: BRIEF // 2 - 1]}…{name[-BRIEF // 2 :]}"


def named_or_counted(names: Sequence[str], what: str) -> str:
    """Names for a sentence, of many their number: "a and b", "5 runs"."""
    return " and ".join(names) if len(names) <= NAMED else f"{len(names)} {what}"


@dataclass(frozen=True)
class RunInfo:
    """One run folder.

    Attributes:
        kind: "train", "adapt", "optimize" or "track"; another for what an experiment made.
        status: created, running, paused, stopped, done, failed, or interrupted (its process died).
        pid: the process that holds it, if one lives.
    """

    path: Path
    kind: str
    status: str
    step: int = 0
    total: int = 0
    error: str | None = None
    pid: int | None = None
    created: float = 0.0
    seed: int = 0
    provenance: Provenance = field(default_factory=Provenance)
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def found_nothing(self) -> bool:
        """Whether the run says itself that none of its poses is right."""
        return nothing_right(self.result)

    @property
    def start(self) -> Path | None:
        """The run that it began from; of runs that were copied together, the copy beside it."""
        told = self.provenance.from_run
        if told is None:
            return None
        beside = self.path.parent / Path(told).name
        return beside if self._began_from_copy(Path(told), beside) else Path(told)

    def _began_from_copy(self, told: Path, beside: Path) -> bool:
        copy = read_run(beside) if beside != told else None
        if copy is None or not copy.created:
            return False
        original = read_run(told)
        if original is not None:
            return (copy.created, copy.seed, copy.kind) == (
                original.created, original.seed, original.kind,
            )  # fmt: skip
        step = self.provenance.from_step  # the original is not there to be held against
        return copy.created < self.created and step in checkpoint_steps(beside)

    @property
    def can_resume(self) -> bool:
        return self.status != "done" and self.kind in RESUMABLE

    @property
    def running(self) -> bool:
        return self.status in ("running", "paused") and self.pid is not None


def nothing_right(result: dict[str, Any]) -> bool:
    """Whether a run's result says that none of its poses is right."""
    return result.get("add_recall") == 0


def is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def read_run(path: Path) -> RunInfo | None:
    """The run in a folder, None where there is none (yet) or it cannot be read."""
    try:
        info = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(info, dict):
        return None
    status = str(info.get("status", "created"))
    held = is_held(path)
    if status in ("running", "paused") and not held:
        status = "interrupted"
    owner = read_owner(path) if held else None
    kind = str(info.get("kind", ""))
    told = info.get("provenance")
    provenance = Provenance.from_dict(told if isinstance(told, dict) else {})
    with contextlib.suppress(InputError):  # of a run that was made elsewhere alone
        provenance = provenance.back_home(read_json(path / HOME))
    return RunInfo(
        path=path,
        kind=COMMANDS.get(kind, kind),
        status=status,
        step=int(info.get("step") or 0),
        total=int(info.get("total") or 0),
        error=info.get("error"),
        pid=int(owner["pid"]) if owner and "pid" in owner else None,
        created=float(info.get("created") or 0.0),
        seed=int(info.get("seed") or 0),
        provenance=provenance,
        result=info.get("result") or {},
    )


def checkpoint_steps(path: Path) -> list[int]:
    """Steps of the checkpoints in a run folder, oldest first."""
    found = (path / "checkpoints").glob("step_*.json")
    return sorted(int(file.stem.removeprefix("step_")) for file in found)


def best_step(path: Path) -> int | None:
    """Step of the checkpoint that a run's network is read from: its best, else its newest."""
    steps = checkpoint_steps(path)
    try:
        best = json.loads((path / "checkpoints" / "best.json").read_text(encoding="utf-8"))["file"]
        step = int(Path(best).stem.removeprefix("step_"))
    except (OSError, ValueError, KeyError, TypeError):
        step = -1
    return step if step in steps else max(steps, default=None)


def checkpoint_file(path: Path, step: int) -> Path:
    return path / "checkpoints" / f"step_{step:08d}.safetensors"


def network_key(run: str | Path, checkpoint: Path | None) -> tuple[str, str, int]:
    """What tells a run's network from others, also from that of a later run of the same name."""
    written = 0
    if checkpoint is not None and checkpoint.exists():
        written = checkpoint.stat().st_mtime_ns
    return str(run), str(checkpoint), written


def free_name(parent: Path, stem: str, taken: Collection[Path] = (), *, suffix: str = "") -> Path:
    """A path under `parent` that does not exist, nor is `taken`: stem-01, stem-02, ..."""
    number = 1
    while (at := parent / f"{stem}-{number:02d}{suffix}").exists() or at in taken:
        number += 1
    return at
