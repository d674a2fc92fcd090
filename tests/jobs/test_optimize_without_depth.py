"""A single pose is optimised without depth, and it is said what that leaves out."""

from __future__ import annotations

from block_shapes import block
from tracked_block import pose_at, write_recording

from self6d import jobs
from self6d.events import Note
from self6d.scene.models_copy import save_models


def test_what_is_left_out_is_said(tmp_path):
    data = write_recording(tmp_path / "block", [pose_at(0), pose_at(1)])
    save_models([block()], data / "models")
    (data / "test" / "000001" / "depth" / "000001.png").unlink()
    said: list[list[str]] = []
    for image in (0, 1):
        heard: list = []
        jobs.optimize(
            data, None, image, 1, init=pose_at(image), steps=1, device="cpu",
            overrides={"loss.perceptual": 0.0}, listener=heard.append,
        )  # fmt: skip
        said.append([e.text for e in heard if isinstance(e, Note) and "depth" in e.text])
    assert said[0] == []
    assert "image 1 has no depth: the geometric term is left out" in said[1][0]
