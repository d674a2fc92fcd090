"""What the helper process has opened and keeps, so that later requests only name it."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from self6d.datasets import Dataset, open_dataset
from self6d.errors import InputError
from self6d.scene import ObjectModel
from studio.engine.types import ModelFiles

if TYPE_CHECKING:
    from self6d.rendering import PackedModels

Named = Sequence[str] | ModelFiles

KEPT_RECORDINGS = 4
MOST_SCENES = 64  # whose folders are watched

Stamps = dict[str, tuple[int, int]]
"""File -> when it was written, in ns, and its size in bytes."""


class Store:
    """A few recordings, and the CAD models used last."""

    def __init__(self) -> None:
        self._recordings: OrderedDict[str, Dataset] = OrderedDict()
        self._stamps: dict[str, Stamps] = {}  # of their images, as they were when it was opened
        self._named = ModelFiles(())
        self._models: list[ObjectModel] = []
        self._written: list[int] = []  # when their files were
        self._packed: PackedModels | None = None

    def dataset(self, path: str) -> Dataset:
        """A recording; opened where it is not open yet."""
        if path not in self._recordings:
            self.keep(path, open_dataset(path))
        self._recordings.move_to_end(path)
        return self._recordings[path]

    def keep(self, path: str, dataset: Dataset) -> None:
        self._recordings[path], self._stamps[path] = dataset, stamps(dataset)
        while len(self._recordings) > KEPT_RECORDINGS:
            del self._stamps[self._recordings.popitem(last=False)[0]]

    def written_anew(self, path: str, now: Dataset) -> list[str]:
        """Images of a recording that bear their old name and are others than when it was opened.

        Args:
            now: the same recording, listed again.
        """
        before = self._stamps.get(path, {})
        return [file for file, stamp in stamps(now).items() if before.get(file, stamp) != stamp]

    def models(self, paths: Named) -> list[ObjectModel]:
        """CAD models of files and folders, numbered as `--models` on the command line does.

        Files that were written anew since are read again.
        """
        named = paths if isinstance(paths, ModelFiles) else ModelFiles(tuple(paths))
        if named != self._named or not self._models or _written(self._models) != self._written:
            self._models = _load(named)
            self._named, self._packed = named, None
            self._written = _written(self._models)
        return self._models

    def packed(self, paths: Named) -> PackedModels:
        """The models as the renderer wants them."""
        from self6d.rendering import pack_models

        models = self.models(paths)
        if self._packed is None:
            self._packed = pack_models(models)
        return self._packed


def image_folders(dataset: Any) -> tuple[Path, ...]:
    """That hold a recording's images, of the first `MOST_SCENES` scenes; of a bag the bag."""
    bag = getattr(dataset, "bag_path", None)
    if bag is not None:
        return (Path(bag),)
    scenes = {key.scene_id: key for key in dataset.keys}  # one frame of each
    folders: dict[Path, None] = {}
    for key in list(scenes.values())[:MOST_SCENES]:
        with suppress(InputError):  # one that cannot be read is no reason not to open the others
            source = dataset.source(key)
            files = (file for file in (source.rgb, source.depth) if file is not None)
            folders |= dict.fromkeys(Path(file).parent for file in files)
    return tuple(folders)


def stamps(dataset: Dataset) -> Stamps:
    """Of the images of a recording, or of the bag that holds them, as they lie on disk."""
    from self6d.datasets.images import DEPTH_SUFFIXES, RGB_SUFFIXES

    found: Stamps = {}
    for place in image_folders(dataset):
        with suppress(OSError):  # it has gone meanwhile
            if place.is_file():
                about = place.stat()
                found[str(place)] = about.st_mtime_ns, about.st_size
                continue
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.lower().endswith(RGB_SUFFIXES + DEPTH_SUFFIXES):
                        about = entry.stat()
                        found[entry.path] = about.st_mtime_ns, about.st_size
    return found


def _written(models: Sequence[ObjectModel]) -> list[int]:
    """When the models' files were written, in ns; 0 of one that is gone."""
    times = []
    for model in models:
        try:
            times.append(0 if model.source is None else model.source.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return times


def _load(named: ModelFiles) -> list[ObjectModel]:
    from self6d.scene.mesh_io import load_models

    if len(named.paths) == 1:
        return load_models(named.paths[0], named.unit)
    files: list[str | Path] = []
    for path in named.paths:
        inside = load_models(path, named.unit) if Path(path).is_dir() else []
        files += [model.source for model in inside if model.source is not None] or [path]
    return load_models(files, named.unit) if files else []
