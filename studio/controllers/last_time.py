"""What a hand has placed in a recording, kept for when it is opened again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from self6d.events import counted
from self6d.paths import POSES
from studio.model.project import Project
from studio.model.settings import Settings


def keep_edits(project: Project, settings: Settings) -> None:
    """Key frames, the track and the frame in sight, beside the recording's CAD files."""
    recording = project.recording
    if recording is None or project.awaits_models:
        return
    keys = [
        {"image": recording.keys[i], "origin": project.origins.get((i, number), ""),
         **pose.to_dict()}
        for (i, number), pose in project.keys.items()
    ]  # fmt: skip
    track = str(project.track.run) if project.track else None
    shown = recording.keys[project.frame_index] if len(recording) else None
    found = {"keys": keys, "track": track, "shown": shown} if keys or track else {}
    settings.keep_edits(Path(recording.root), project.model_paths, found)


def bring_back(
    project: Project,
    settings: Settings,
    say: Callable[[str, str], object],
    show_track: Callable[[Path], object],
) -> None:
    """Put back what `keep_edits` left of the open recording, with the same CAD files only.

    Frames are known by their numbers on disk: there may be more of them now, or fewer.

    Args:
        say: told what came back, where anything did. show_track: called with the track that was in
            sight, where it is there still.
    """
    recording, models = project.recording, list(map(str, project.model_paths))
    edits: dict[str, Any] = {}
    for entry in settings.recent():
        if recording and entry["recording"] == recording.root and entry["models"] == models:
            edits = entry.get("edits") or {}
    if recording is None or not edits:
        return
    rows = []
    for row in edits["keys"]:
        index = recording.index_of(tuple(row["image"]))
        if index is not None and project.model(row["object_id"]) is not None:
            rows.append({**row, "frame": index})
    project.restore_poses(rows, rows)
    project.select_frame(recording.index_of(tuple(edits["shown"])) or 0)
    track = Path(edits["track"]) if edits["track"] else None
    if track is not None and not (track / POSES).exists():
        track = None
    told = [f"CAD models {', '.join(path.name for path in project.model_paths)}"]
    if rows:
        told.append(counted(len(rows), "key frame", "key frames"))
    if track is not None:
        told.append(f"track {track.name}")
        show_track(track)
    say("good", f"As you left it: {', '.join(told)}.")
