"""Frames as stage 2 holds them, and with poses as it learns from them."""

import math

import pytest
import stage2_scene as stage2
import torch

from self6d.datasets.base import UnlabelledFrames
from self6d.stage2.frame_store import FrameStore, resize_frame
from self6d.stage2.labelled import labelled_batch, mask_boxes


class TestFrameStore:
    def test_batches_are_the_frames(self):
        store = FrameStore(UnlabelledFrames(stage2.Recording()), "cpu")
        batch, seen = store.batch([2, 5]), stage2.sensor(real=True)
        assert torch.allclose(batch.images, seen.images[[2, 5]], atol=0.51 / 255)
        assert torch.equal(batch.depth_m, seen.depth_m[[2, 5]])

    @pytest.mark.parametrize("budget_mb", [4096, 0])
    def test_depth_stays_or_is_unknown(self, budget_mb):
        """Far depth is kept as it is; what is no distance becomes 0, unknown."""
        given = torch.tensor([6.6, 9.87654, 25.0, math.nan, math.inf, -math.inf, -1.0])
        frames = UnlabelledFrames(stage2.Written(given))
        store = FrameStore(frames, "cpu", budget_mb=budget_mb)
        expected = torch.tensor([6.6, 9.87654, 25.0, 0, 0, 0, 0])
        assert torch.equal(store.batch([1]).depth_m[0, 0, :7], expected)
        assert store.frame(1).depth_m[0, :7].tolist() == expected.tolist()

    def test_frames_that_do_not_fit_are_read_again(self):
        frames = UnlabelledFrames(stage2.Recording())
        kept, read = FrameStore(frames, "cpu"), FrameStore(frames, "cpu", budget_mb=0)
        assert torch.equal(kept.batch([1]).images, read.batch([1]).images)

    def test_resampled_frames_keep_their_rays(self):
        frame = stage2.Recording().frame(0)
        small = resize_frame(frame, 48)
        assert small.rgb.shape == (48, 64, 3)
        assert small.depth_m.shape == (48, 64)
        assert small.camera.K[0, 0] == pytest.approx(frame.camera.K[0, 0] / 2)
        assert set(small.depth_m.ravel()) <= set(frame.depth_m.ravel())


def test_labelled_batch_knows_what_hides_what():
    R, t = stage2.poses()
    models = stage2.pack_models([stage2.MODEL])
    seen = stage2.sensor(real=False)
    one = type(seen)(seen.images[:1], seen.depth_m[:1].clone(), seen.K[:1])
    one.depth_m[:, :, 64:] = 0.1  # something near hides the right half
    behind = t[:1] + torch.tensor([[0.0, 0.0, 0.2]])
    batch = labelled_batch(
        one, models, torch.cat((R[:1], R[:1])), torch.cat((t[:1], behind)),
        torch.tensor([0, 0]), torch.tensor([0, 0]),
    )  # fmt: skip
    first = batch.instance_map[0] == 0
    assert first.any()
    assert not first[:, 64:].any()
    assert batch.mask_amodal[0, :, 64:].any()
    assert batch.visible_fraction[0] < 0.9
    assert batch.visible_fraction[1] < batch.visible_fraction[0]
    assert batch.box_visible[0, 2] <= 64 < batch.box_amodal[0, 2]


def test_mask_boxes():
    mask = torch.zeros(2, 6, 8, dtype=torch.bool)
    mask[0, 2:4, 3:7] = True
    assert mask_boxes(mask).tolist() == [[3, 2, 7, 4], [0, 0, 0, 0]]
