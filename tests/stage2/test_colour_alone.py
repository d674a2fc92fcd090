"""Adapting to colours alone reads no depth file: broken ones, or slow ones, are no matter."""

from __future__ import annotations

import numpy as np
import pytest

from self6d.datasets import UnlabelledFrames, open_dataset
from self6d.datasets.readers.cropped import CroppedRecording
from self6d.errors import InputError
from self6d.sample.sample import make_sample
from self6d.stage2.frame_store import FrameStore


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return make_sample(tmp_path_factory.mktemp("colour") / "sample", 3, 2, 1, size=(72, 96))


def test_no_depth_file_is_decoded(recording) -> None:
    dataset = open_dataset(recording)
    whole = dataset.frame(0)
    assert whole.depth_m is not None
    broken = sorted(recording.rglob("depth/*.png"))
    kept = {path: path.read_bytes() for path in broken}
    for path in broken:
        path.write_bytes(b"not a picture")
    try:
        again = open_dataset(recording)
        colours = again.frame(0, depth=False)
        assert colours.depth_m is None
        np.testing.assert_array_equal(colours.rgb, whole.rgb)
        np.testing.assert_array_equal(colours.camera.K, whole.camera.K)
        frames = UnlabelledFrames(again)
        store = FrameStore(frames, "cpu", use_depth=False)
        batch = store.batch([0, 1])
        assert batch.depth_m is None
        assert (batch.images[0] * 255).round().byte().permute(1, 2, 0).equal(
            FrameStore(frames, "cpu", use_depth=False, budget_mb=0).batch([0]).images[0]
            .mul(255).round().byte().permute(1, 2, 0)
        )  # fmt: skip
        with pytest.raises(InputError):
            FrameStore(frames, "cpu", use_depth=True)
    finally:
        for path, data in kept.items():
            path.write_bytes(data)


def test_a_film_and_a_bag_leave_it_out_too() -> None:
    """Readers with a `frame` of their own take the argument and hand it on."""
    import inspect

    from self6d.datasets.readers.bags.recording import BagRecording
    from self6d.datasets.readers.stray import StrayRecording
    from self6d.datasets.recording import Recording

    for reader in (Recording, StrayRecording, CroppedRecording, BagRecording):
        assert inspect.signature(reader.frame).parameters["depth"].default is True
