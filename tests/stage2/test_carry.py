"""Sound pseudo-poses carried through a generated recording whose camera's way is known."""

import numpy as np
import pytest
import torch

from self6d.datasets import UnlabelledFrames, load_models, open_dataset
from self6d.datasets.recording import upper_bound_truth
from self6d.network.outputs import Detections
from self6d.network.roi import masks_in_regions
from self6d.rendering import pack_models, render
from self6d.sample.sample import make_sample, models_folder
from self6d.stage2.frame_store import FrameStore
from self6d.stage2.labelled import mask_boxes
from self6d.stage2.pseudo_labels import PseudoLabels
from self6d.stage2.still.carry import carry
from self6d.tracking.still.arrangement import Thing

FRAMES, HALF = 12, 6  # two arrangements of six frames
MODELS = load_models(models_folder(), "mm")
THINGS = [Thing.of(model) for model in MODELS]
PACKED = pack_models(MODELS)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = make_sample(tmp_path_factory.mktemp("carry") / "sample", 42, FRAMES, 0)
    part = open_dataset(folder).split("adapt")
    known = upper_bound_truth(part)
    place = {model.object_id: i for i, model in enumerate(MODELS)}
    rows = [(f, place[g.object_id], g.pose) for f in range(FRAMES) for g in known(f)]
    store = FrameStore(UnlabelledFrames(part), "cpu")
    frame, index = (torch.tensor(x) for x in list(zip(*rows, strict=True))[:2])
    R, t = (
        torch.tensor(np.array([getattr(p, name) for _, _, p in rows]), dtype=torch.float32)
        for name in ("R_m2c", "t_m2c")
    )
    K = store.batch(frame.tolist()).K
    view = render(R, t, K, PACKED, store.size, object_index=index, soft_mask=False)
    logits = torch.zeros(len(R), 2, 28, 28)
    box = mask_boxes(view.covered).float()
    score = torch.ones(len(R))
    found = Detections(frame, index, score, box, R, t, logits, box.clone())
    sound = torch.zeros(len(R), dtype=torch.bool)
    return store, PseudoLabels(found, R, t, 0.5 * score, sound, sound.clone()), view


def test_one_sound_pose_of_each_object_is_enough_for_a_piece(recorded) -> None:
    store, true, view = recorded
    frame, index = true.detections.image_index, true.detections.object_index
    sound = (frame == 2) | (frame == HALF + 1)
    said = true[torch.arange(len(true))]
    said.sound = sound
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    said.R[~sound] = true.R[~sound] @ turn  # on its head, in the right box
    elsewhere = frame == 3
    said.detections.box[elsewhere] = torch.tensor([2.0, 2.0, 9.0, 9.0])
    missed = frame == 4
    before = said.R.clone()
    carried = carry(said[(~missed).nonzero()[:, 0]], THINGS, store, PACKED)
    assert carried.pieces == (tuple(range(HALF)), tuple(range(HALF, FRAMES)))
    assert said.R.equal(before)  # the given ones are not touched
    labels = carried.labels
    assert labels.keys.equal(labels.keys.sort().values)
    assert labels.keys.unique().numel() == len(labels)
    wanted = {int(k): n for n, k in enumerate(true.keys)}
    rows = [wanted[int(k)] for k in labels.keys]
    apart = np.array([
        THINGS[int(index[n])].apart(
            (labels.R[k].double().numpy(), labels.t[k].double().numpy()),
            (true.R[n].double().numpy(), true.t[n].double().numpy()),
        )
        for k, n in enumerate(rows)
    ])  # fmt: skip
    assert carried.moved.sum() >= 0.6 * (~sound).sum()
    assert (apart[carried.moved.numpy()] < 0.06).all()
    assert labels.sound.equal(carried.moved | sound[rows])
    # where it was seen elsewhere or missed, box and mask are those of what shows
    for image in (3, 4):
        at = (carried.moved & (labels.detections.image_index == image)).nonzero()[:, 0]
        assert len(at) >= 1
        whole = torch.tensor([0.0, 0, store.size[1], store.size[0]]).expand(len(at), 4)
        drawn = masks_in_regions(labels.detections[at], whole, store.size)[:, 1] > 0.5
        covered = view.covered[[rows[k] for k in at.tolist()]]
        overlap = (drawn & covered).sum((1, 2)) / (drawn | covered).sum((1, 2))
        assert overlap.min() > 0.7
    told = carried.told([5, 6, 7])
    assert f"2 stretches of {HALF} frames; {int(carried.moved.sum())} of {len(labels)} " in told
    assert "in 2 of the stretches" in told
    at = labels.detections.object_index[carried.moved]
    assert all(f"object {5 + i}: {int((at == i).sum())}" in told for i in range(3))


def test_where_depth_shows_nothing_no_pose_is_carried(recorded) -> None:
    store, true, _ = recorded
    said = true[torch.arange(len(true))]
    said.sound = true.detections.image_index == 2
    said.t = true.t * 0.8  # floats in front of everything
    carried = carry(said, THINGS, store, PACKED)
    assert not carried.moved.any()
    assert "no pose is carried" in carried.told([5, 6, 7])
    assert carried.labels.t.equal(said.t)
