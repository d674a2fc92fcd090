"""Edits of the project that can be undone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from PySide6.QtGui import QUndoCommand

from studio.engine.types import PoseData
from studio.model.track import PoseKey

NUDGE_MERGE = 1
MERGE_WITHIN_S = 0.8


class Poses(Protocol):
    """What holds the poses; see `studio.model.project.Project`."""

    origins: dict[PoseKey, str]
    keys: dict[PoseKey, PoseData]

    def set_pose(
        self, key: PoseKey, pose: PoseData | None, origin: str, placed: PoseData | None
    ) -> None: ...


class FunctionEdit(QUndoCommand):
    """An edit given as two functions."""

    def __init__(self, text: str, do: Callable[[], object], undo: Callable[[], object]) -> None:
        super().__init__(text)
        self._do, self._undo = do, undo

    def redo(self) -> None:
        self._do()

    def undo(self) -> None:
        self._undo()


class PoseEdit(QUndoCommand):
    """A pose set by hand, or by a search or an optimisation that was asked for: a key frame."""

    def __init__(
        self,
        project: Poses,
        key: PoseKey,
        before: PoseData | None,
        after: PoseData,
        text: str,
        merge: bool,
        origin: str = "edited",
    ) -> None:
        super().__init__(text)
        self._project, self._key, self._merge = project, key, merge
        self._before, self._after = before, after
        self._origin_before, self._origin = project.origins.get(key, ""), origin
        self._key_before = project.keys.get(key)
        self._time = time.monotonic()

    def id(self) -> int:
        return NUDGE_MERGE if self._merge else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, PoseEdit) or other._key != self._key:
            return False
        if other._time - self._time > MERGE_WITHIN_S:
            return False
        self._after, self._time = other._after, other._time
        return True

    def redo(self) -> None:
        self._project.set_pose(self._key, self._after, self._origin, self._after)

    def undo(self) -> None:
        self._project.set_pose(self._key, self._before, self._origin_before, self._key_before)
