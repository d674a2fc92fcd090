"""Depth that the test moved beside the colours is told, in pixels and images; else nothing is."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from tracked_block import pose_at, write_recording

from self6d.datasets import open_dataset
from self6d.doctor import beside
from self6d.doctor.beside import examine_registration, frame_shift
from self6d.doctor.doctor import examine
from self6d.doctor.report import DoctorReport
from self6d.scene import Frame


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> list[Frame]:
    folder = tmp_path_factory.mktemp("plain")
    recording = open_dataset(write_recording(folder, [pose_at(i) for i in range(6)]))
    return [recording.frame(i) for i in range(6)]


def moved(frame: Frame, shift) -> Frame:
    way = np.column_stack((np.eye(2), shift))
    size = frame.camera.width, frame.camera.height
    depth = cv2.warpAffine(
        frame.depth_m, way, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    return Frame(frame.rgb, depth, frame.camera, frame.scene_id, frame.image_id, frame.name)


def told(frames) -> list[str]:
    report = DoctorReport(path="recording")
    examine_registration(report, frames)
    assert all(f.code == "depth-beside" and "depth_to_color" in f.remedy for f in report.findings)
    return [f.what for f in report.findings]


def test_depth_on_the_colours_is_not_spoken_of(frames):
    assert told(frames) == []


def test_depth_beside_throughout(frames):
    (text,) = told([moved(f, (4.0, -3.0)) for f in frames])
    size = float(text.removeprefix("depth lies ").split()[0])
    assert size == pytest.approx(5.0, abs=1.0)
    assert "in the 6 frames looked at" in text
    assert "to the left" in text
    assert "down" in text


def test_depth_beside_in_some_frames(frames):
    some = [moved(f, (6.0, 2.0)) if f.image_id in (2, 5) else f for f in frames]
    (text,) = told(some)
    assert "in 2 of 6 frames looked at (images 2, 5)" in text


def test_images_are_looked_at_once_and_told_by_their_own_number(frames, monkeypatch):
    first = frame_shift(moved(frames[0], (5.0, 0.0)))
    monkeypatch.setattr(beside, "_look", lambda frame: pytest.fail("looked again"))
    again = frame_shift(replace(moved(frames[0], (5.0, 0.0)), image_id=70))
    assert again == replace(first, image=70)
    with pytest.raises(pytest.fail.Exception):
        frame_shift(moved(frames[0], (5.0, 1.0)))  # other depth


def test_the_doctor_looks_and_says_so(tmp_path):
    folder = write_recording(tmp_path, [pose_at(i) for i in range(3)])
    for path in (folder / "test" / "000001" / "depth").iterdir():
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.roll(depth, 5, axis=1))
    report = examine(folder)
    (finding,) = [f for f in report.findings if f.code == "depth-beside"]
    assert finding.severity == "warning"
    assert not any("registered" in text for text in report.unchecked)
    quick = examine(folder, quick=True)
    assert any("registered" in text for text in quick.unchecked)
