"""Stage 2's steps on a GPU: recorded as graphs or not, in bfloat16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import stage2_scene as stage2
import torch

from self6d.datasets import UnlabelledFrames
from self6d.losses.objective import LossConfig
from self6d.network import PoseNetwork
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.rgb.config import RefinerConfig
from self6d.refinement.rgb.network import RefinerNetwork
from self6d.refinement.rgb.weights import save_refiner
from self6d.stage2.config import AdaptConfig
from self6d.stage2.task import SelfSupTask
from self6d.stage2.track_task import TrackTask
from self6d.synthesis import SynthesisConfig

pytestmark = pytest.mark.gpu
CONFIG = AdaptConfig(
    steps=40, batch=4, scope="all", warmup=0, lr=1e-3, augment=0.3, roll_deg=20, zoom=0.1,
    cover=0.5, turn_deg=20, synthetic=0.5, synthetic_batch=2, refiner_lr=1e-3,
)  # fmt: skip
SMALL = SynthesisConfig(background_pool=2, instances_min=1, instances_max=2, faces_max=300)


def tracked(folder: Path, **changes) -> TrackTask:
    """Learns from the true poses of the small recording, a refiner beside."""
    small = RefinerConfig(backbone="resnet10-w8", size=32, head_channels=4, instances=3)
    torch.manual_seed(0)
    save_refiner(folder / "any.safetensors", RefinerNetwork(small, 1), [])
    frames = UnlabelledFrames(stage2.Recording())
    torch.manual_seed(0)
    network = PoseNetwork(stage2.config(), [stage2.MODEL]).eval()
    network.to(memory_format=torch.channels_last)
    config = replace(CONFIG, refiner=str(folder / "any.safetensors"), **changes)
    return TrackTask(network, [stage2.MODEL], frames, stage2.track(), config, SMALL, device="cuda")


def assert_steps_alike(recorded: TrackTask | SelfSupTask, plain: TrackTask | SelfSupTask) -> None:
    for step in range(8):
        one, other = recorded.step(step), plain.step(step)
        assert one.keys() == other.keys()
        for name in one:
            a, b = torch.as_tensor(one[name]).float(), torch.as_tensor(other[name]).float()
            torch.testing.assert_close(a.cpu(), b.cpu(), atol=5e-3, rtol=0.03, msg=name)


def test_recorded_steps_learn_what_steps_without_do(tmp_path: Path) -> None:
    recorded, plain = tracked(tmp_path, amp="off", lr=1e-4), tracked(tmp_path, amp="off", lr=1e-4)
    assert recorded.refiner is not None
    assert plain.refiner is not None
    for learning in (plain._of_frames, plain._of_scenes, plain.refiner._learning):
        learning._record = None
    assert_steps_alike(recorded, plain)
    assert recorded._of_frames._graphs
    assert recorded._of_scenes._graphs
    assert recorded.refiner._learning._graphs


def test_a_track_is_learned_from_in_bfloat16(tmp_path: Path) -> None:
    task = tracked(tmp_path)
    said = [task.step(step) for step in range(40)]
    assert not any(bool(values["health/skipped"]) for values in said)
    losses = torch.stack([values["loss/total"] for values in said])
    assert losses[-8:].mean() < 0.8 * losses[:8].mean()
    assert task.halve_batch()
    assert task.step(40)["loss/total"].isfinite()


def test_self_supervision_in_bfloat16_moves_what_float32_does() -> None:
    """The teacher's first look is the same; so are, nearly, the losses that follow from it."""
    adapt = AdaptConfig(
        steps=8, batch=4, region=64, lr=1e-4, warmup=0, pseudo=True, pseudo_steps=8,
        pseudo_region=64, label_weight=1.0, scope="all", pseudo_colour=False, health_every=50,
    )  # fmt: skip
    said = {}
    for amp in ("off", "auto"):
        task = SelfSupTask(
            stage2.network().to(memory_format=torch.channels_last), [stage2.MODEL],
            UnlabelledFrames(stage2.Recording()), replace(adapt, amp=amp),
            LossConfig(perceptual=0.0, points=256), OptimizeConfig(flips=False), device="cuda",
        )  # fmt: skip
        values = [task.step(step) for step in range(4)]
        assert not any(bool(v["health/skipped"]) for v in values)
        said[amp] = torch.stack([v["loss/total"].float() for v in values]).mean()
    torch.testing.assert_close(said["auto"], said["off"], atol=0, rtol=0.1)


SELF = AdaptConfig(
    steps=40, batch=4, region=64, lr=1e-4, warmup=0, max_objects=8, health_every=50, augment=0.3
)


@pytest.mark.parametrize(
    "adapt",
    [
        SELF,
        replace(
            SELF, pseudo=True, pseudo_steps=10, pseudo_region=64, label_weight=1.0, scope="all",
            pseudo_weight=1.0, pseudo_colour=False, synthetic=0.5, synthetic_batch=2,
        ),
    ],
    ids=["poses", "all parts"],
)  # fmt: skip
def test_recorded_self_supervision_learns_what_it_does_without(adapt: AdaptConfig) -> None:
    def made() -> SelfSupTask:
        network = stage2.network().to(memory_format=torch.channels_last)
        return SelfSupTask(
            network, [stage2.MODEL], UnlabelledFrames(stage2.Recording()),
            replace(adapt, amp="off"), LossConfig(perceptual=0.0, points=256),
            OptimizeConfig(flips=False), SMALL, device="cuda",
        )  # fmt: skip

    recorded, plain = made(), made()
    assert recorded.recorded is not None
    assert plain.recorded is not None
    for learning in (plain.recorded._poses, *plain.recorded._labelled.values()):
        learning._has_room = lambda: False
    assert_steps_alike(recorded, plain)
    assert recorded.recorded._poses._graphs
    assert not plain.recorded._poses._graphs
