"""Labels written another way than the layout says are told of, with the way that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from self6d.datasets import load_models, open_dataset
from self6d.datasets.recording import Recording
from self6d.doctor.labels import examine_labels
from self6d.doctor.report import DoctorReport, Finding
from self6d.geometry import Pose
from self6d.sample.sample import make_sample
from self6d.scene import GroundTruth, ObjectModel


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, list[ObjectModel]]:
    root = make_sample(tmp_path_factory.mktemp("data") / "sample", 7, 1, 4, size=(240, 320))
    return open_dataset(root).split("eval"), load_models(root / "models")


@contextmanager
def labelled(recording: Recording, change: Callable) -> Iterator[None]:
    """Its labels with poses changed."""
    own = recording.truth

    def changed(index: int) -> tuple[GroundTruth, ...]:
        rows = own(index)
        return tuple(
            GroundTruth(row.object_id, Pose(*change(row.pose.R_m2c, row.pose.t_m2c)))
            for row in rows
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "truth", changed)
        yield


def examined(recording: Recording, models: list[ObjectModel], *before: Finding) -> list[Finding]:
    report = DoctorReport(recording.root, findings=list(before))
    examine_labels(report, recording, models)
    return report.findings[len(before) :]


def test_right_labels_pass(seen) -> None:
    assert examined(*seen) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [(lambda R, t: (R.T, t), "rotations are written by columns"),
     (lambda R, t: (R.T, -R.T @ t), "poses are written camera to model"),
     (lambda R, t: (R, t / 1000), "translations are written in metres"),
     (lambda R, t: (R, t / 10), "translations are written in centimetres"),
     (lambda R, t: (R, t * 1000), "translations are written in millimetres")],
)  # fmt: skip
def test_labels_written_another_way(seen, change: Callable, says: str) -> None:
    recording, models = seen
    with labelled(recording, change):
        (finding,) = examined(recording, models)
        assert (finding.code, finding.severity) == ("labels-misfit", "warning")
        assert finding.what.endswith(f" % if {says}")
        scale = Finding("depth-scale", "error", "depth is read as mm but looks like 0.1 mm")
        assert examined(recording, models, scale) == []  # that is to be mended first


def test_labels_of_another_recording_fit_in_no_way(seen) -> None:
    recording, models = seen
    with labelled(recording, lambda R, t: (R, t * [1, 1, 0.4] + [0, 0, 0.02])):
        (finding,) = examined(recording, models)
        assert "labels do not fit the images: in half of" in finding.what


def test_nothing_is_said_without_models_of_theirs(seen) -> None:
    recording, _ = seen
    with labelled(recording, lambda R, t: (R.T, t)):
        assert examined(recording, []) == []


def test_labels_of_images_without_depth(seen, monkeypatch: pytest.MonkeyPatch) -> None:
    recording, models = seen
    whole = recording.frame
    monkeypatch.setattr(recording, "frame", lambda index: whole(index, depth=False))
    assert examined(recording, models) == []
    with labelled(recording, lambda R, t: (R.T, -R.T @ t)):
        (finding,) = examined(recording, models)
        assert finding.what.endswith(" % if poses are written camera to model")
