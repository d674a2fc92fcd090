"""A recording as the window lists it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from self6d.datasets import open_dataset
from self6d.datasets.recording import Recording
from self6d.datasets.splits import any_depth
from self6d.errors import InputError
from self6d.events import counted
from studio.engine.store import image_folders
from studio.engine.types import DiskChange, RecordingInfo


def info_of(path: str, dataset: Recording) -> RecordingInfo:
    """What the window needs to know of an open recording, its first frame read."""
    positions = {key: index for index, key in enumerate(dataset.keys)}
    splits: dict[str, tuple[int, ...]] = dict.fromkeys(dataset.split_names(), ())
    for name in dataset.splits_of_these_frames():  # others number frames of their own
        splits[name] = tuple(positions[key] for key in dataset.split_keys(name))
    first = dataset.frame(0)
    probes = {
        *_spread(len(dataset), 5),
        *(indices[0] for indices in splits.values() if indices),
    }
    models = getattr(dataset, "models_path", None)
    return RecordingInfo(
        root=str(path),
        kind=dataset.kind,
        keys=tuple((key.scene_id, key.image_id) for key in dataset.keys),
        reason=getattr(dataset, "reason", ""),
        splits=splits,
        models=str(models) if models else None,
        has_depth=first.depth_m is not None or any_depth(dataset.frame, len(dataset)),
        has_truth=any(dataset.truth(i) for i in probes),
        size=first.rgb.shape[:2],
        topics=_topics_read(dataset),
        folders=_folders(dataset),
    )


def changed_on_disk(
    path: str, listed: int, written_anew: Callable[[Recording], list[str]]
) -> DiskChange:
    """What has become of an open recording.

    Args:
        listed: frames that it had when it was opened.
        written_anew: names its images that are others since.
    """
    if not Path(path).exists():
        text = f"{path} is gone: of its frames only those seen before are shown. Put it back."
        return DiskChange("gone", text)
    try:
        found = open_dataset(path)
    except InputError as error:
        text = f"The open recording has changed on disk and cannot be read again: {error}"
        return DiskChange("unreadable", text)
    now, anew = len(found), written_anew(found)
    if now == listed and anew:
        some = counted(len(anew), "file", "files")
        text = f"{some} of {path} are others now, such as {Path(anew[0]).name}"
        again = "what was found on them before is of the old ones. Open it again to look at them."
        return DiskChange("replaced", f"{text}: {again}")
    if now == listed:
        return DiskChange()
    what, holds, seen = (
        ("more", "holds", "to see them") if now > listed
        else ("fewer", "holds only", "to list what is there")
    )  # fmt: skip
    before = f"{listed} were there when it was opened"
    return DiskChange(what, f"{path} {holds} {now} frames now; {before}. Open it again {seen}.")


def _folders(dataset: Any) -> tuple[str, ...]:
    folders = image_folders(dataset)
    if getattr(dataset, "bag_path", None) is not None:
        return tuple(map(str, folders))
    # a scene's own folder lists its frames where the reader does not count files
    around = (folder.parent for folder in folders if folder != Path(dataset.root))
    return tuple(map(str, dict.fromkeys((*folders, *around))))


def _topics_read(dataset: Any) -> tuple[str, ...]:
    topics = getattr(dataset, "topics", None)
    if topics is None:
        return ()
    named = {"colour": topics.colour, "depth": topics.depth, "camera_info": topics.info}
    return tuple(f"{what} {topic or 'none'}" for what, topic in named.items())


def _spread(count: int, wanted: int) -> list[int]:
    """A few indices over the whole range."""
    return sorted({round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)})
