"""A recording as the window lists it."""

from __future__ import annotations

from typing import Any

from self6d.datasets.recording import Recording
from self6d.datasets.splits import any_depth
from studio.engine.types import RecordingInfo


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
    )


def _topics_read(dataset: Any) -> tuple[str, ...]:
    topics = getattr(dataset, "topics", None)
    if topics is None:
        return ()
    named = {"colour": topics.colour, "depth": topics.depth, "camera_info": topics.info}
    return tuple(f"{what} {topic or 'none'}" for what, topic in named.items())


def _spread(count: int, wanted: int) -> list[int]:
    """A few indices over the whole range."""
    return sorted({round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)})
