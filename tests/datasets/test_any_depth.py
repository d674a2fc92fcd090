"""Single frames without depth do not make a recording one without depth."""

from __future__ import annotations

from pathlib import Path

from block_shapes import block
from tracked_block import pose_at, write_recording

from self6d.datasets import UnlabelledFrames, open_dataset
from self6d.datasets.splits import any_depth
from self6d.scene.models_copy import save_models
from self6d.stage2.frame_store import FrameStore
from studio.engine.requests.recordings import info_of


def without(folder: Path, *images: int) -> Path:
    """A recording of three frames of which these have no depth."""
    data = write_recording(folder, [pose_at(i) for i in range(3)])
    save_models([block()], data / "models")
    for image in images:
        (data / "test" / "000001" / "depth" / f"{image:06d}.png").unlink()
    return data


def test_the_first_frame_alone_does_not_decide(tmp_path):
    data = open_dataset(without(tmp_path / "some", 0, 1))
    frames = UnlabelledFrames(data)
    assert data.frame(0).depth_m is None
    assert any_depth(frames.read, len(frames))
    assert info_of(str(data.root), data).has_depth
    store = FrameStore(frames, "cpu")
    assert store.has_depth
    depth = store.batch([0, 2]).depth_m
    assert depth is not None
    assert not depth[0].any()  # unknown
    assert depth[1].any()


def test_without_any_depth_it_has_none(tmp_path):
    data = open_dataset(without(tmp_path / "none", 0, 1, 2))
    assert not any_depth(data.frame, len(data))
    assert not info_of(str(data.root), data).has_depth
