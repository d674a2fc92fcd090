"""A run's folder: all that is needed to understand, resume and use a run, in one place.

run.json            what this is, its state, versions, provenance
config.toml         the whole configuration
events.jsonl        curves, notes, progress
previews/           newest preview of each probe, and its first
checkpoints/        step_00000100.safetensors + .json; best.json names the best
models/             copy of the CAD files
control.jsonl       requests to the running job
.lock, lock.json    who runs it
"""

from __future__ import annotations

import json
import os
import platform
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

import self6d
from self6d.errors import CheckpointError, InputError, from_os_error
from self6d.events import Event, Preview
from self6d.files import OR_RESUME, check_free, run_remedy
from self6d.locks import FolderLock, is_held
from self6d.network.config import EARLIER
from self6d.runs import checkpoint as ckpt
from self6d.runs import event_log
from self6d.storage import atomic_write

FORMAT = 1
SEEDS = 2**63
_FOLDERS = ("checkpoints", "previews")
_INFO: dict[str, Callable[[Any], bool]] = {  # what run.json must hold to be used
    "kind": lambda value: isinstance(value, str),
    "status": lambda value: isinstance(value, str),
    "seed": lambda value: type(value) is int and 0 <= value < SEEDS,
    "provenance": lambda value: isinstance(value, dict),
}


class RunFolder:
    """One run on disk. Make it with `create` or `open`.

    Attributes:
        path: the folder.
        info: content of run.json.
        config: content of config.toml, as nested dicts.
    """

    def __init__(self, path: Path, info: dict[str, Any], config: dict[str, Any]) -> None:
        self.path = path
        self.info = info
        self.config = config

    @classmethod
    def create(
        cls,
        path: str | Path,
        kind: str,
        config: dict[str, Any],
        provenance: dict[str, Any] | None = None,
        *,
        seed: int = 0,
    ) -> RunFolder:
        """Make a new run folder; never overwrites.

        Args:
            path: must not exist, or be empty.
            kind: "synthetic", "selfsup", "single_image", ...
            config: nested dicts as `self6d.config.to_dict` gives.
            provenance: where the inputs came from, what JSON can hold.

        Raises:
            InputError: the folder holds something already, or cannot be made there; no such seed.
            StorageError: the disk is full, read-only, or may not be written.
        """
        path, seed = Path(path), _checked_seed(seed)
        check_free(path, OR_RESUME)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run = cls(
                path,
                {
                    "format": FORMAT,
                    "kind": kind,
                    "status": "created",
                    "created": time.time(),
                    "seed": seed,
                    "versions": versions(),
                    "provenance": provenance or {},
                },
                _without_none(config),
            )
            run.ensure()
        except OSError as error:
            raise from_os_error(error, path) from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open a run folder that exists.

        Raises:
            CheckpointError: not a run folder, damaged, or of a newer format.
        """
        path = Path(path)
        try:
            info = json.loads((path / "run.json").read_text(encoding="utf-8"))
            config = tomllib.loads((path / "config.toml").read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(
                f"not a run folder (no run.json and config.toml: {error.strerror})",
                path=path,
                remedy=run_remedy(
                    path, "Name a folder that train, adapt or optimize wrote with --out."
                ),
            ) from error
        except (ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"run folder is damaged ({reason})",
                path=path,
                remedy="Copy run.json and config.toml again, or choose another run.",
            ) from error
        if not isinstance(info, dict) or info.get("format") != FORMAT:
            raise CheckpointError(
                "run folder has an unknown format",
                path=path,
                remedy=f"Use the version that wrote it; this is {self6d.__version__}.",
            )
        wrong = [name for name, fits in _INFO.items() if not fits(info.get(name))]
        if wrong:
            raise CheckpointError(
                f"run folder is damaged ({wrong[0]} of run.json is not what it should be)",
                path=path,
                remedy="Copy run.json again, or choose another run.",
            )
        if isinstance(network := config.get("network"), dict):
            config["network"] = {**EARLIER, **network}
        return cls(path, info, config)

    @property
    def kind(self) -> str:
        return str(self.info["kind"])

    @property
    def seed(self) -> int:
        return int(self.info["seed"])

    @property
    def status(self) -> str:
        """created, running, paused, stopped, done, failed; interrupted if its process died."""
        status = str(self.info["status"])
        if status in ("running", "paused") and not is_held(self.path):
            return "interrupted"
        return status

    @property
    def result(self) -> dict[str, Any]:
        """What the finished job returned; empty before."""
        result = self.info.get("result")
        return result if isinstance(result, dict) else {}

    @property
    def remark(self) -> str:
        """What whoever reads its results must know, such as a term left out; mostly empty."""
        return str(self.info.get("remark", ""))

    @property
    def models_path(self) -> Path:
        return self.path / "models"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    def ensure(self) -> None:
        """Write again what is missing, such as after the folder was removed and made anew.

        Raises:
            OSError: the run folder itself is gone, or cannot be written.
        """
        for name in _FOLDERS:
            (self.path / name).mkdir(exist_ok=True)
        if not (self.path / "config.toml").exists():
            atomic_write(self.path / "config.toml", tomli_w.dumps(self.config).encode())
        if not (self.path / "run.json").exists():
            self.update()

    def update(self, **info: Any) -> None:
        """Change run.json."""
        self.info.update(info)
        atomic_write(self.path / "run.json", json.dumps(self.info, indent=1).encode())

    def replace_config(self, config: dict[str, Any]) -> None:
        """Write another configuration, such as on a resume with changes."""
        self.config = _without_none(config)
        atomic_write(self.path / "config.toml", tomli_w.dumps(self.config).encode())

    def lock(self, *, force: bool = False) -> FolderLock:
        """The run's lock, not yet taken; once it is, what a killed writer left goes."""
        written = [self.path / name for name in (".", *_FOLDERS)]
        return FolderLock(self.path, self.kind, force=force, clear=written)

    def save_checkpoint(
        self, step: int, state: dict[str, Any], info: dict[str, Any] | None = None
    ) -> Path:
        """See `self6d.runs.checkpoint.save_checkpoint`; adds versions and configuration."""
        about = {
            "kind": self.kind,
            "seed": self.seed,
            "time": time.time(),
            "versions": versions(),
            "config": self.config,
            "provenance": self.info["provenance"],
            **(info or {}),
        }
        return ckpt.save_checkpoint(self.checkpoints_path, step, state, about)

    def mark_best(self, checkpoint: Path, score: float, provisional: bool = False) -> None:
        """Name the best checkpoint so far; it is kept.

        Args:
            provisional: `settle_best` brings back the one named before, which is kept as well.
        """
        record: dict[str, Any] = {"file": checkpoint.name, "score": score}
        if provisional:
            record["before"] = self._record()
        self._write_best(record)

    def settle_best(self) -> None:
        """Take back a provisional best."""
        record = self._record()
        if record is None or "before" not in record:
            return
        if record["before"] is None:
            (self.checkpoints_path / "best.json").unlink(missing_ok=True)
        else:
            self._write_best(record["before"])

    def prune(self, keep_last: int) -> None:
        """Delete old checkpoints, the best never."""
        record = self._record()
        named = [record, record.get("before")] if record else []
        kept = {best[0] for best in map(self._best, named) if best is not None}
        ckpt.prune(self.checkpoints_path, keep_last, kept)

    def latest_checkpoint(self) -> Path | None:
        """The newest checkpoint that is intact."""
        return ckpt.newest_intact(self.checkpoints_path)

    def best_checkpoint(self) -> Path | None:
        """The checkpoint named best if it is intact, else the newest."""
        return next((path for path in self._best_first() if ckpt.is_intact(path)), None)

    def _best_first(self) -> list[Path]:
        best = self._best(self._record())
        return ([] if best is None else [best[0]]) + ckpt.checkpoints(self.checkpoints_path)[::-1]

    def best_score(self) -> float | None:
        best = self._best(self._record())
        return best[1] if best else None

    def load_checkpoint(
        self, path: Path | None = None, device: torch.device | str = "cpu"
    ) -> ckpt.Checkpoint:
        """Read a checkpoint of the run, the best one unless named.

        Raises:
            CheckpointError: none is intact.
        """
        if path is not None:
            return ckpt.load_checkpoint(path, device)
        found = ckpt.load_first_intact(self._best_first(), device)
        if found is None:
            ended = "Choose another run: this one has ended, and nothing of it can be read."
            go_on = "Run it on with --resume, or choose another run."
            raise CheckpointError(
                "run has no intact checkpoint",
                path=self.path,
                remedy=ended if self.status == "done" else go_on,
            )
        return found

    def save_preview(self, preview: Preview) -> None:
        event_log.save_preview(self.path, preview)

    def previews(self, *, first: bool = False) -> list[Preview]:
        """Newest preview of each name, or the first."""
        paths = sorted((self.path / "previews").glob("*.npz"))
        chosen = [p for p in paths if p.name.endswith(".first.npz") == first]
        return [preview for p in chosen if (preview := event_log.load_preview(p)) is not None]

    def iter_events(self, from_offset: int = 0) -> Iterator[tuple[Event, int]]:
        """Events from a byte offset to the file's end, each with the offset to go on from."""
        return event_log.read_events(self.events_path, from_offset)

    def curves(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """All scalars by name: steps and values; see `event_log.read_curves`."""
        return event_log.read_curves(self.events_path)

    def _record(self) -> dict[str, Any] | None:
        """best.json; None where there is none, or it cannot be read."""
        try:
            record = json.loads((self.checkpoints_path / "best.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def _write_best(self, record: dict[str, Any]) -> None:
        atomic_write(self.checkpoints_path / "best.json", json.dumps(record).encode())

    def _best(self, record: Any) -> tuple[Path, float] | None:
        """The checkpoint that a record names, and its score; None where it is not there."""
        try:
            name, score = str(record["file"]), float(record["score"])
        except (ValueError, KeyError, TypeError):
            return None
        path = self.checkpoints_path / Path(name).name  # never outside the folder
        return (path, score) if path.exists() else None


def names_of(runs: Sequence[str | Path]) -> list[str]:
    """Run folders' names, of equal ones with as many of the folders around as tell them apart.

    Raises:
        InputError: a run is named twice.
    """
    parts = [Path(os.path.abspath(run)).parts for run in runs]
    if twice := [run for run, own in zip(runs, parts, strict=True) if parts.count(own) > 1]:
        raise InputError("the run is named twice", path=Path(twice[0]), remedy="Name it once.")

    def name(own: tuple[str, ...]) -> str:
        alike = (other for other in parts if other != own)
        shared = (next(k for k in range(1, len(own) + 1) if own[-k:] != o[-k:]) for o in alike)
        return Path(*own[-max(shared, default=1) :]).as_posix()

    return [name(own) for own in parts]


def versions() -> dict[str, str]:
    """What a figure may depend on."""
    found = {
        "self6d": self6d.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
    if torch.cuda.is_initialized():
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = str(torch.version.cuda)
    return found


def _checked_seed(seed: int) -> int:
    """A seed that the finished run can be read back with."""
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < SEEDS:
        shown = repr(seed)[:60]
        raise InputError(
            f"{shown} cannot be a seed", remedy="Give a whole number from 0 to 9223372036854775807."
        )
    return int(seed)


def _without_none(config: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: an absent key means the default."""
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if value is not None
    }
