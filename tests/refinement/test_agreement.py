"""Poses held against mask and depth: true ones agree, shifted ones do not."""

from dataclasses import replace

import pytest
import stage2_scene as stage2
import torch

from self6d.refinement.agreement import AgreementJudge


@pytest.mark.parametrize("with_depth", [True, False])
def test_true_poses_agree_and_shifted_ones_do_not(with_depth, monkeypatch):
    network = stage2.network()
    frame = stage2.Recording(with_depth=with_depth).frame(0)
    R, t = stage2.poses()
    predict = network.predict

    def judged(shift_m: float):
        def placed(*args, **kwargs):
            found = predict(*args, **kwargs)
            assert kwargs["score_threshold"] == 0.2
            return replace(found, R=R[:1], t=t[:1] + torch.tensor([shift_m, 0.0, shift_m]))

        monkeypatch.setattr(network, "predict", placed)
        (pose,) = AgreementJudge(network, [stage2.MODEL], score_threshold=0.2)(frame)
        assert pose.object_id == stage2.MODEL.object_id
        assert pose.t[0] == pytest.approx(float(t[0, 0]) + shift_m, abs=1e-6)
        return pose

    true, near, far = (judged(shift_m) for shift_m in (0.0, 0.01, 0.03))
    assert 1 >= true.mask_iou > far.mask_iou >= 0  # the network's own mask is not exact
    assert true.trust > far.trust
    if with_depth:
        assert true.trust > 2 * near.trust
        assert true.depth_inliers > 0.9
        assert true.depth_gap_m < 0.002
        assert near.depth_gap_m > 0.005
    else:
        assert true.depth_gap_m != true.depth_gap_m  # NaN
        assert true.trust == true.mask_iou
