"""A job as a folder for another machine: what it reads, and one command."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from self6d.config import assignment
from self6d.datasets import Recording, open_dataset
from self6d.datasets.bop_writer import write_bop
from self6d.datasets.recording import LABELLED, UNLABELLED
from self6d.datasets.splits import default_split, some_frames
from self6d.errors import InputError, StorageError
from self6d.events import Listener, Progress
from self6d.files import check_free, read_json
from self6d.jobs.export import OWN_PATHS
from self6d.paths import SHIPPED, is_package, track_file
from self6d.runs.folder import RunFolder
from self6d.runs.load_network import load_given_models
from self6d.runs.provenance import HOME
from self6d.scene.models_copy import save_models
from self6d.storage import whole_folder

KINDS = ("train", "adapt", "optimize", "track")
RUNS, FILES = ("--from", "--refiner"), ("--poses", "--init", "--keep")
WITHOUT = ("--device", "--share", "--unit", "--gpus")  # settled here, or that machine's business
FLAGS = ("--search", "--still", "--no-check", "--check", "--quiet", "--take-lock")
README = """# {kind}: {name}

Made for another machine. It holds all that the job reads: {holds}.

1. Install self6d-studio {version} there.
2. `sh run.sh` in this folder (with more GPUs: append `--gpus 4`). Where there is a GPU, it is used.
3. Bring `runs/{name}` back: it opens as a run (File > Open run, or drop it on the window), and
   `self6d-studio evaluate`, `predict` and `export` take it.

`sh run.sh --resume` goes on after an interruption, on that machine.
"""


def pack(words: Sequence[str], out: str | Path, *, listener: Listener | None = None) -> Path:
    """Write a folder with models, frames used, start run, configuration and one command.

    Args:
        words: the job's command after the program's name, such as ["adapt", "DATA", "--from",
            "RUN", "--out", "RUN2"]. Frames are copied as BOP; of them only those that the job uses.
        out: folder to make.
        listener: receives `Progress` of the frames.

    Returns:
        `out`. Its run.sh makes the run OUT/runs/NAME, where NAME is that of the command's --out.

    Raises:
        InputError: not such a command, something that it names is missing, or `out` is not empty.
        CheckpointError: a run that it names has no intact checkpoint.
        StorageError: `out` cannot be written.
    """
    out = Path(out)
    if not words or words[0] not in KINDS:
        raise InputError(
            f"{' '.join(words[:1]) or 'nothing'} is no job that can be taken elsewhere",
            remedy=f"Give the command of a job: {', '.join(KINDS)}.",
        )
    if "--resume" in words:
        raise InputError("a run that goes on stays where it is", remedy="Leave out --resume.")
    check_free(out)
    try:
        with whole_folder(out) as partial:
            _Packing(list(words), partial, listener).write()
    except OSError as error:
        raise StorageError(f"cannot be written ({error.strerror or error})", path=out) from None
    return out


class _Packing:
    """One command on its way into a folder."""

    def __init__(self, words: list[str], root: Path, listener: Listener | None) -> None:
        self.kind, self.root, self.listener = words[0], root, listener
        self.data, self.options = _parsed(words)
        self.holds: list[str] = []
        self.home: dict[str, str | list[str]] = {}  # provenance of the run, as it is here

    def write(self) -> None:
        words = [self.kind]
        name = Path(self._first("--out") or self.kind).name
        if self.data is not None:
            words.append(self._recording(Path(self.data), "data", whole=False))
            self.home["data"] = str(Path(self.data).resolve())
        given = [Path(v) for option, v in self.options if option == "--models" and v is not None]
        if given:
            unit = self._first("--unit") or self._set("models.unit") or "auto"
            (self.root / "models").mkdir()
            save_models(load_given_models(given, unit), self.root / "models")
            self.holds.append("CAD models")
            self.home["models"] = [str(path.resolve()) for path in given]
            words += ["--models", "models"]
        for option, value in self.options:
            if option in (*WITHOUT, "--out", "--models") or self._is_unit(option, value):
                continue
            words.append(option)
            if value is not None:
                words.append(self._brought(option, value))
        words += ["--out", f"runs/{name}"]
        line, run = shlex.join(["self6d-studio", *words]), shlex.quote(f"runs/{name}")
        (self.root / HOME).write_text(json.dumps(self.home, indent=1), encoding="utf-8")
        (self.root / "run.sh").write_text(
            f'#!/bin/sh\ncd "$(dirname "$0")" && {line} "$@"\n'
            f"code=$?\n[ -d {run} ] && cp {HOME} {run}/\nexit $code\n",
            encoding="utf-8",
        )
        text = README.format(
            kind=self.kind, name=name, holds=", ".join(self.holds), version=version("self6d-studio")
        )
        (self.root / "README.md").write_text(text, encoding="utf-8")

    def _brought(self, option: str, value: str) -> str:
        """A value as the command in the folder says it."""
        path, name = Path(value), option.removeprefix("--")
        if option == "--refiner" and value == SHIPPED:
            return value
        if option in RUNS and not path.is_file():
            if self.kind == "track" and is_package(path):
                shutil.copytree(path, self.root / name)
            else:
                _copy_run(path, self.root / name)
            if option == "--from":
                self.home["from_run"] = str(path.resolve())
            self.holds.append(f"the run {path.name} ({name})")
            return name
        if option in (*RUNS, *FILES) or (option in ("--preset", "--camera") and path.is_file()):
            path = track_file(path)
            if not path.is_file():
                raise InputError("does not exist", path=path, remedy=f"Look at {option}.")
            to = f"{name}{path.suffix}"
            shutil.copyfile(path, self.root / to)
            self.holds.append(f"{path.name} ({name})")
            return to
        if option == "--camera":
            self.home["camera"] = str(path.resolve())
            return self._recording(path, name, whole=True)
        return self._setting(value) if option == "--set" else value

    def _setting(self, text: str) -> str:
        """A setting; the file or folder that it names comes along."""
        key, _, value = text.partition("=")
        path = Path(value.strip("\"'"))
        if tuple(key.split(".")) not in OWN_PATHS or not path.exists():
            return text
        to = self.root / "own" / (key.replace(".", "-") + path.suffix)
        to.parent.mkdir(exist_ok=True)
        shutil.copytree(path, to) if path.is_dir() else shutil.copyfile(path, to)
        self.holds.append(f"{path.name} ({key})")
        return assignment(key, to.relative_to(self.root))

    def _recording(self, path: Path, name: str, *, whole: bool) -> str:
        dataset = open_dataset(path)
        frames = dataset if whole else self._used(dataset)

        def tell(done: int, total: int) -> None:
            if self.listener is not None:
                self.listener(Progress(done, total, None, "copying frames"))

        write_bop(frames, self.root / name, on_frame=tell)
        split = self._first("--split")
        if split is not None and not whole:
            _name_split(self.root / name, split)
        self.holds.append(f"{len(frames)} frames of {path.name}")
        return name

    def _used(self, dataset: Recording) -> Recording:
        if self.kind in ("adapt", "track"):
            split = self._first("--split")
            split = default_split(dataset, split, "adapt") if self.kind == "adapt" else split
            return some_frames(dataset, split, float(self._first("--share") or 1.0))
        image, scene = self._first("--frame"), self._first("--scene")
        chosen = [
            i for i, key in enumerate(dataset.keys)
            if str(key.image_id) == image and scene in (None, str(key.scene_id))
        ]  # fmt: skip
        return dataset.subset(chosen) if chosen else dataset

    def _first(self, option: str) -> str | None:
        return next((value for name, value in self.options if name == option), None)

    def _set(self, key: str) -> str | None:
        """What --set says of a key."""
        said = (v.partition("=") for option, v in self.options if option == "--set" and v)
        return next((value.strip("\"'") for name, _, value in said if name == key), None)

    def _is_unit(self, option: str, value: str | None) -> bool:
        """The models are written in millimetres, whatever they were in."""
        return option == "--set" and str(value).startswith("models.unit=")


def _copy_run(run: Path, to: Path) -> None:
    """A run with its best checkpoint alone, exactly as it is."""
    folder = RunFolder.open(run)
    folder.load_checkpoint()  # says what is wrong with it
    best = folder.best_checkpoint()
    assert best is not None
    (to / "checkpoints").mkdir(parents=True)
    for name in ("run.json", "config.toml"):
        if (run / name).is_file():
            shutil.copyfile(run / name, to / name)
    shutil.copytree(folder.models_path, to / "models")
    for path in (best.with_suffix(".safetensors"), best.with_suffix(".json")):
        shutil.copyfile(path, to / "checkpoints" / path.name)


def _name_split(folder: Path, split: str) -> None:
    """A copy of a split's frames knows it by its name, even if it was a folder or a camera."""
    made = open_dataset(folder)
    if split in (*made.split_names(), LABELLED, UNLABELLED):
        return
    path = folder / "splits.json"
    table = read_json(path, "splits file") if path.is_file() else {}
    table[split] = [[key.scene_id, key.image_id] for key in made.keys]
    path.write_text(json.dumps(table) + "\n", encoding="utf-8")


def _parsed(words: list[str]) -> tuple[str | None, list[tuple[str, str | None]]]:
    """The recording, and options with their values in order; flags have None."""
    data: str | None = None
    options: list[tuple[str, str | None]] = []
    left = list(words[1:])
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            if data is not None:
                raise InputError(f"{word!r} stands alone", remedy="Name one recording, no more.")
            data = word
        elif word in FLAGS:
            options.append((word, None))
        elif "=" in word and word.startswith("--"):
            name, _, value = word.partition("=")
            options.append((name, value))
        elif not left:
            raise InputError(f"{word} lacks its value")
        else:
            options.append((word, left.pop(0)))
    return data, options
