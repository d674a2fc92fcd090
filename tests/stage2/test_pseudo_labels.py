"""Pseudo-labels: which checks must agree, which poses are selected, what a new look changes."""

import pytest
import torch

from self6d.datasets.base import FrameKey
from self6d.network.outputs import Detections
from self6d.refinement.health import PoseHealth
from self6d.refinement.refine import Refined
from self6d.stage2.config import AdaptConfig
from self6d.stage2.pseudo_labels import (
    PseudoLabels,
    draw_frames,
    select_poses,
    sound_poses,
    update,
)


def labels(trust, sound, frames=None, objects=None):
    n = len(trust)
    frames = torch.arange(n) if frames is None else torch.tensor(frames)
    objects = torch.zeros(n, dtype=torch.long) if objects is None else torch.tensor(objects)
    found = Detections(
        frames, objects, torch.ones(n), torch.zeros(n, 4), torch.eye(3).repeat(n, 1, 1),
        torch.tensor(trust)[:, None].repeat(1, 3), torch.zeros(n, 1, 2, 2), torch.zeros(n, 4),
    )  # fmt: skip
    flags = torch.tensor(sound)
    return PseudoLabels(
        found, found.R, found.t, torch.tensor(trust), flags, torch.zeros_like(flags)
    )


KEYS = tuple(FrameKey(1, i) for i in range(10))


class TestPseudoPoses:
    def test_every_check_must_agree(self):
        ok = torch.ones(4)
        health = PoseHealth(torch.tensor([0.9, 0.5, 0.9, 0.9]), torch.tensor([0.9, 0.9, 0.2, 0.9]))
        spread = torch.tensor([0.0, 0, 0, 0.4])
        refined = Refined(torch.eye(3).repeat(4, 1, 1), ok[:, None], {}, health, spread, ok * 0)
        assert sound_poses(refined, AdaptConfig(), True).tolist() == [True, False, False, False]
        assert sound_poses(refined, AdaptConfig(), False).tolist() == [True, False, True, False]

    def test_the_most_trusted_share_of_each_object_is_selected(self):
        given = labels(
            [0.9, 0.8, 0.7, 0.6, 0.3], [True, True, False, True, True],
            frames=[0, 1, 2, 3, 0], objects=[0, 0, 0, 0, 1],
        )  # fmt: skip
        eye = torch.eye(4)[None, None].repeat(2, 1, 1, 1)
        selected = select_poses(given, KEYS, eye, share=0.5).selected
        assert selected.tolist() == [True, True, False, False, True]

    def test_a_new_look_keeps_a_better_trusted_pose(self):
        old = labels([0.9, 0.2, 0.5], [True, True, True])
        new = labels([0.4, 0.6], [True, True])
        both = update(old, new, [0, 1])
        assert both.detections.image_index.tolist() == [0, 1, 2]
        assert both.trust.tolist() == pytest.approx([0.9, 0.6, 0.5])
        assert both.t[:, 0].tolist() == pytest.approx([0.9, 0.6, 0.5])

    @pytest.mark.parametrize(("alone", "rows"), [(False, [0, 1, 2]), (True, [1, 2])])
    def test_a_batch_is_drawn_from_frames_with_a_selected_pose(self, alone, rows):
        given = labels([0.9, 0.8, 0.7, 0.6], [True] * 4, frames=[0, 0, 1, 2])
        numbers, selected = given.detections.image_index, torch.tensor([False, True, True, False])
        drawn, frames, places = draw_frames(
            given, numbers, selected, 3, 9, torch.Generator().manual_seed(0), alone=alone
        )
        assert drawn.trust.tolist() == given.trust[rows].tolist()
        assert frames.tolist() == numbers[rows].tolist()
        assert [rows[i] for i in places.tolist()] == [1, 2]

    def test_without_a_selected_pose_every_detection_is_drawn(self):
        given = labels([0.9, 0.8], [False, False])
        none = torch.zeros(2, dtype=torch.bool)
        numbers = given.detections.image_index
        drawn, _, places = draw_frames(
            given, numbers, none, 5, 9, torch.Generator().manual_seed(0), alone=True
        )
        assert (len(drawn), len(places)) == (2, 0)

    def test_what_is_no_longer_seen_is_forgotten(self):
        both = update(labels([0.9, 0.2], [True, True]), labels([0.4], [True], frames=[1]), [0, 1])
        assert both.detections.image_index.tolist() == [1]

    def test_state_survives_a_checkpoint(self):
        given = labels([0.9, 0.2], [True, False])
        again = PseudoLabels.from_state(given.state(), torch.device("cpu"))
        assert torch.equal(again.t, given.t)
        assert torch.equal(again.sound, given.sound)
        assert again.detections.mask_logits.dtype == torch.float32
