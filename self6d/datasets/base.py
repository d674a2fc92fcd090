"""What every reader gives: frames by index, truth apart from them, named splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from self6d.scene import Frame, GroundTruth


@dataclass(frozen=True, order=True)
class FrameKey:
    """BOP's address of an image: scene number and image number."""

    scene_id: int
    image_id: int


Targets = Mapping[FrameKey, Mapping[int, int]]


class Dataset(Protocol):
    """A recording. Opening one lists its frames; pixels are read on demand, memory stays flat.

    Attributes:
        root: the folder (or file) it was opened from.
        kind: reader's name, such as "bop" or "folder".
        keys: address of every frame, in order.
        targets: of a split that a BOP targets file makes: how many instances of which object count
            in which image; None: all that are labelled.
    """

    @property
    def root(self) -> Path: ...

    @property
    def targets(self) -> Targets | None: ...

    @property
    def kind(self) -> str: ...

    @property
    def keys(self) -> Sequence[FrameKey]: ...

    def __len__(self) -> int: ...

    def frame(self, index: int, *, depth: bool = True) -> Frame:
        """Pixels and camera of a frame; never a label. Without `depth` no depth is decoded."""
        ...

    def truth(self, index: int) -> tuple[GroundTruth, ...]:
        """Labels of a frame, empty where there are none. Evaluation and upper bound only."""
        ...

    def split_names(self) -> tuple[str, ...]:
        """Names `split` accepts."""
        ...

    def split(self, name: str) -> Dataset:
        """The same recording restricted to a named split; InputError lists the names if unknown."""
        ...

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The same recording restricted to some frames."""
        ...


class UnlabelledFrames:
    """All that stage 2 may see of a dataset: frames, by index.

    It promises that no attribute, method or argument of it leads to a label, so that none is used
    by mistake. It does not guard against intent: the dataset lies in a closure, and Python lets
    anyone open the closure's cell.
    """

    __slots__ = ("_frame", "keys")

    def __init__(self, dataset: Dataset) -> None:
        frame = dataset.frame
        self._frame = lambda index, **how: frame(index, **how)
        self.keys: tuple[FrameKey, ...] = tuple(dataset.keys)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Frame:
        return self.read(index)

    def read(self, index: int, *, depth: bool = True) -> Frame:
        """A frame; without `depth` its depth is None and not decoded."""
        if not 0 <= index < len(self.keys):
            raise IndexError(index)
        return self._frame(index) if depth else self._frame(index, depth=False)

    def __iter__(self) -> Iterator[Frame]:
        return (self[i] for i in range(len(self)))
