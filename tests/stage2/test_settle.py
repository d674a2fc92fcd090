"""Pseudo-poses of frames solved together, in the hands of stage 2."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from block_shapes import block
from simulated_views import FOCAL, Simulated, simulate

from self6d.datasets import FrameKey, UnlabelledFrames, load_models
from self6d.geometry import Camera
from self6d.network.outputs import Detections
from self6d.rendering import pack_models, render
from self6d.sample.sample import models_folder
from self6d.scene import Frame
from self6d.stage2.frame_store import FrameStore
from self6d.stage2.labelled import mask_boxes
from self6d.stage2.pseudo_labels import PseudoLabels
from self6d.stage2.still.settle import settle
from self6d.tracking.still.arrangement import Thing

HEIGHT, WIDTH, FRAMES = 120, 160, 24
K = np.array([[FOCAL / 4, 0, 80], [0, FOCAL / 4, 60], [0, 0, 1]])
MODELS = [*load_models(models_folder(), "mm"), replace(block(), object_id=9)]
THINGS = [Thing.of(model) for model in MODELS]
PACKED = pack_models(MODELS)


class Recording:
    """Grey frames: nothing here looks at colours. Frames are not in the order of time."""

    root, kind = Path("recording"), "test"
    keys = tuple(FrameKey(1, FRAMES - i) for i in range(FRAMES))

    def __len__(self):
        return FRAMES

    def frame(self, index, *, depth=True):
        rgb = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        return Frame(rgb, None, Camera(K, WIDTH, HEIGHT), 1, FRAMES - index, f"frame {index}")

    def truth(self, index):
        raise AssertionError("a label was asked for")

    def split_names(self):
        return ()


def seen(scene: Simulated) -> PseudoLabels:
    """Poses as simulated, with the masks that belong to the true ones."""
    index = torch.tensor([s.item for s in scene.seen])
    poses = [scene.true[s.frame, s.item] for s in scene.seen]
    R, t = (torch.tensor(np.array(x), dtype=torch.float32) for x in zip(*poses, strict=True))
    camera = torch.tensor(K, dtype=torch.float32).expand(len(R), 3, 3)
    view = render(R, t, camera, PACKED, (HEIGHT, WIDTH), object_index=index, soft_mask=False)
    said = [(s.R, s.t) for s in scene.seen]
    R, t = (torch.tensor(np.array(x), dtype=torch.float32) for x in zip(*said, strict=True))
    whole = torch.tensor([0.0, 0, WIDTH, HEIGHT]).expand(len(R), 4)
    detections = Detections(
        torch.tensor([FRAMES - 1 - s.frame for s in scene.seen]), index, torch.ones(len(R)),
        mask_boxes(view.covered), R, t, torch.where(view.covered, 8.0, -8.0)[:, None], whole,
    )  # fmt: skip
    sound = torch.ones(len(R), dtype=torch.bool)
    return PseudoLabels(detections, R, t, torch.full((len(R),), 0.6), sound, sound.clone())


def right(scene: Simulated, labels: PseudoLabels, rows: torch.Tensor) -> float:
    """Share of some labels within a tenth of the diameter."""
    R, t = labels.R.double().numpy(), labels.t.double().numpy()
    good = [
        THINGS[s.item].apart((R[n], t[n]), scene.true[s.frame, s.item]) < 0.1
        for n, s in enumerate(scene.seen)
        if rows[n]
    ]
    return float(np.mean(good))


@pytest.fixture(scope="module")
def store() -> FrameStore:
    return FrameStore(UnlabelledFrames(Recording()), "cpu", use_depth=False)


def test_poses_of_all_frames_become_the_pseudo_poses(store) -> None:
    scene = simulate(1, FRAMES, len(MODELS), known=dict(enumerate(THINGS)))
    labels = seen(scene)
    settled = settle(labels, THINGS, store, PACKED, 0.7)
    assert settled.moved.float().mean() > 0.6
    assert right(scene, settled.labels, settled.moved) > 1.5 * right(scene, labels, settled.moved)
    # the rest but takes its bias back; where it stands against the others it is not learned from
    left = ~settled.moved
    assert settled.labels.R[left].equal(labels.R[left])
    index = labels.detections.object_index
    centre = torch.tensor(np.array([t.centre for t in THINGS]), dtype=torch.float32)[index]
    own, now = ((x.R @ centre[..., None])[..., 0] + x.t for x in (labels, settled.labels))
    bias = torch.tensor([settled.scene.bias[i] for i in range(len(MODELS))])[index]
    torch.testing.assert_close(now[left], own[left] * torch.exp(-bias[left])[:, None])
    wrong = torch.tensor([
        np.linalg.norm(s.t - scene.true[s.frame, s.item][1]) > 0.15 for s in scene.seen
    ])  # fmt: skip
    solved = torch.isin(labels.detections.image_index, labels.detections.image_index[settled.moved])
    assert (wrong & solved).sum() >= 3
    assert not (settled.labels.sound & wrong & solved & left).any()
    assert labels.sound.all()  # the given ones are not touched
    assert "solved together, in 1 stretch of" in settled.told([m.object_id for m in MODELS])


def test_what_moves_keeps_its_own_poses_and_is_named(store) -> None:
    scene = simulate(2, FRAMES, len(MODELS), moving=(3,), drift=0.03, known=dict(enumerate(THINGS)))
    labels = seen(scene)
    settled = settle(labels, THINGS, store, PACKED, 0.7)
    own = labels.detections.object_index == 3
    assert settled.labels.t[own].equal(labels.t[own])
    assert settled.labels.sound[own].all()
    assert settled.moved[~own].float().mean() > 0.5
    assert settled.told([m.object_id for m in MODELS]).endswith("objects 9")


def test_one_object_alone_has_nothing_to_agree_with(store) -> None:
    scene = simulate(2, FRAMES, len(MODELS), known=dict(enumerate(THINGS)))
    labels = seen(scene)
    alone = labels[labels.detections.object_index == 0]
    settled = settle(alone, THINGS, store, PACKED, 0.7)
    assert not settled.moved.any()
    assert settled.labels.sound.all()
    assert "agree nowhere" in settled.told([1])
