"""Pseudo-labels of several instances of one object in a frame."""

from __future__ import annotations

import math

import torch

from self6d.datasets.base import FrameKey
from self6d.network.outputs import Detections
from self6d.stage2.pseudo_labels import PseudoLabels, instance_tracks, select_poses, update

LEFT, RIGHT = [0.0, 0, 20, 20], [40.0, 0, 60, 20]


def turned(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def labels(rows: list[tuple[int, list[float], float, float]]) -> PseudoLabels:
    """Frame, box, trust and angle about z of each; one object, all sound."""
    n = len(rows)
    R = torch.stack([turned(angle) for *_, angle in rows])
    t = torch.tensor([[box[0] / 100, 0, 1] for _, box, _, _ in rows])
    detections = Detections(
        torch.tensor([frame for frame, *_ in rows]), torch.zeros(n).long(), torch.ones(n),
        torch.tensor([box for _, box, _, _ in rows]), R, t, torch.zeros(n, 1, 2, 2),
        torch.zeros(n, 4),
    )  # fmt: skip
    trust = torch.tensor([trust for *_, trust, _ in rows])
    sound = torch.ones(n, dtype=torch.bool)
    return PseudoLabels(detections, R, t, trust, sound, sound.clone())


def test_an_older_pose_is_carried_over_to_its_own_instance() -> None:
    old = labels([(0, LEFT, 0.9, 0.1), (0, RIGHT, 0.2, 0.2)])
    new = labels([(0, RIGHT, 0.5, 0.3), (0, LEFT, 0.5, 0.4)])
    both = update(old, new, [0])
    assert both.trust.tolist() == torch.tensor([0.5, 0.9]).tolist()
    assert both.detections.box.tolist() == [RIGHT, LEFT]
    torch.testing.assert_close(both.R[1], turned(0.1))
    torch.testing.assert_close(both.R[0], turned(0.3))


def test_a_new_instance_takes_no_pose_of_another() -> None:
    """The left one is no longer found: its pose, however trusted, says nothing of the right one."""
    old = labels([(0, LEFT, 0.9, 0.1), (0, [80.0, 0, 100, 20], 0.9, 0.1)])
    both = update(old, labels([(0, RIGHT, 0.5, 0.3)]), [0])
    assert both.trust.tolist() == [0.5]
    torch.testing.assert_close(both.R[0], turned(0.3))


def test_each_instance_is_a_track() -> None:
    frame = torch.tensor([0, 0, 1, 1, 2])
    moved = [2.0, 0, 22, 20]
    box = torch.tensor([LEFT, RIGHT, RIGHT, moved, moved])
    assert instance_tracks(frame, frame, box).tolist() == [0, 1, 1, 0, 0]
    single = torch.arange(3)
    assert instance_tracks(single, single, box[:3]).tolist() == [0, 0, 0]


def test_a_flip_is_seen_among_poses_of_the_same_instance() -> None:
    """The right one lies the other way round in every frame; the left one flips in the second."""
    rows = []
    for frame in range(3):
        rows += [
            (frame, LEFT, 0.9, math.pi if frame == 1 else 0.0),
            (frame, RIGHT, 0.9, math.pi),
        ]
    given = labels(rows)
    keys = [FrameKey(1, i) for i in range(3)]
    chosen = select_poses(given, keys, torch.eye(4).expand(1, 1, 4, 4), share=1.0)
    assert chosen.selected.tolist() == [True, True, False, True, True, True]
