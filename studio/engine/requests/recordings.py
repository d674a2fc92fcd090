"""A recording as the window lists it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from self6d.datasets import open_dataset
from self6d.datasets.recording import Recording
from self6d.datasets.splits import any_depth
from self6d.errors import InputError
from studio.engine.types import DiskChange, RecordingInfo

MOST_SCENES = 64  # whose folders are watched


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


def changed_on_disk(path: str, listed: int) -> DiskChange:
    """What has become of an open recording.

    Args:
        listed: frames that it had when it was opened.
    """
    if not Path(path).exists():
        text = f"{path} is gone: of its frames only those seen before are shown. Put it back."
        return DiskChange("gone", text)
    try:
        now = len(open_dataset(path))
    except InputError as error:
        text = f"The open recording has changed on disk and cannot be read again: {error}"
        return DiskChange("unreadable", text)
    if now == listed:
        return DiskChange()
    what, holds, seen = (
        ("more", "holds", "to see them") if now > listed
        else ("fewer", "holds only", "to list what is there")
    )  # fmt: skip
    before = f"{listed} were there when it was opened"
    return DiskChange(what, f"{path} {holds} {now} frames now; {before}. Open it again {seen}.")


def _folders(dataset: Any) -> tuple[str, ...]:
    bag = getattr(dataset, "bag_path", None)
    if bag is not None:
        return (str(bag),)
    scenes = {key.scene_id: key for key in dataset.keys}  # one frame of each
    folders: dict[Path, None] = {}
    for key in list(scenes.values())[:MOST_SCENES]:
        with suppress(InputError):  # one that cannot be read is no reason not to open the others
            source = dataset.source(key)
            files = (file for file in (source.rgb, source.depth) if file is not None)
            folders |= dict.fromkeys(Path(file).parent for file in files)
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
