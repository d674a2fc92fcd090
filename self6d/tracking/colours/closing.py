"""What a track's poses go through once all frames are done, before the track counts as done."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from self6d.datasets import UnlabelledFrames
from self6d.datasets.pose_track import PoseTrack, write_pose_track
from self6d.engine.task import Noted
from self6d.events import Told
from self6d.paths import POSES
from self6d.runs.control import Control
from self6d.runs.folder import RunFolder
from self6d.tracking.colours.larger import looks_larger
from self6d.tracking.colours.place import described, left_on_depth, onto_colours, row_of
from self6d.tracking.rgb.smooth import smoothed
from self6d.tracking.rgb.told import none_sure
from self6d.tracking.task import TrackTask
from self6d.tracking.told import Way, in_one_place, not_sure

BEFORE_COLOURS = "stopped before the poses were held against the colours: they follow the depth yet"


def write_poses(run: RunFolder, task: TrackTask) -> None:
    """What is known is of use, however the run ended."""
    if task.done or not task.total_steps:
        write_pose_track(run.path / POSES, task.poses(), again=True)


def close(
    run: RunFolder,
    frames: UnlabelledFrames,
    task: TrackTask,
    stands: PoseTrack | None,
    way: Way,
    control: Control,
    tell: Told,
    note: Noted,
) -> bool:
    """Write the poses as they are with all frames at hand; False: stopped on the way.

    Args:
        stands: poses that are left alone. way: how the objects were begun with.
        control: says when to stop. tell, note: see `run_task`.
    """
    write_poses(run, task)
    weak, texts = task.config.weak, task.leaps()
    if task.config.colours and task.has_depth:
        said = _onto_colours(run, frames, task, stands, tell, control)
        if said is None:
            note("warning", BEFORE_COLOURS)
            return False
        texts += said
    if task.has_depth:
        texts += not_sure(task.poses(), task.models, weak=weak, way=way)
    else:
        texts += _told_of_colours(run, frames, task, stands)
    for text in texts + in_one_place(task.poses(), task.models, sure=weak):
        note("warning", text)
    return True


def _onto_colours(
    run: RunFolder,
    frames: UnlabelledFrames,
    task: TrackTask,
    stands: PoseTrack | None,
    tell: Told,
    control: Control,
) -> list[str] | None:
    """Write the track's poses as the colours have them; in words, what that changed. None: it was
    stopped before."""
    poses, sure = task.poses(), task.config.weak
    placed = onto_colours(
        frames, poses, task.models, sure=sure, leave={row_of(p) for p in stands or ()},
        device=task.device, at=partial(tell, "holding poses against the colours"),
        stopping=lambda: control.stopping,
    )  # fmt: skip
    if placed is None:
        return None
    if placed:
        moved = {row_of(p.row): p.pose for p in placed}
        poses = [replace(p, pose=moved.get(row_of(p), p.pose)) for p in poses]
        write_pose_track(run.path / POSES, poses, again=True)
    texts = described(placed, task.models) + left_on_depth(frames, poses, placed, task.models)
    return texts + looks_larger(frames, poses, task.models, sure=sure, device=task.device)


def _told_of_colours(
    run: RunFolder, frames: UnlabelledFrames, task: TrackTask, stands: PoseTrack | None
) -> list[str]:
    """Write the track's poses at smoother distances; in words, if none of them is sure."""
    poses, config = task.poses(), task.config
    if config.smooth and not config.still:
        pieces = [[frames.keys[i] for i in piece] for piece in task.scenes]
        poses = smoothed(poses, task.models, pieces, {row_of(p) for p in stands or ()})
        write_pose_track(run.path / POSES, poses, again=True)
    sure = [p.confidence for p in poses if p.pose is not None]
    return none_sure(sure, weak=config.weak, focal_error=config.focal_error)
