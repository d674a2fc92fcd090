"""L_self on single real frames, from known poses turned by 10 degrees and moved by 20 mm.

Small and with few seeds unless SELF6D_SEEDS says how many; then with the preset's sizes and steps:

    SELF6D_SEEDS=10 python -m pytest tests/real/test_single_image.py -s
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from self6d import jobs
from self6d.datasets import open_dataset
from self6d.geometry import Pose

pytestmark = pytest.mark.real

ANGLE, SHIFT_M = np.radians(10), 0.02
FULL = "SELF6D_SEEDS" in os.environ
SEEDS = int(os.environ.get("SELF6D_SEEDS", "2"))
SMALL = {"optimize.region": 128, "optimize.steps": 40, "loss.perceptual": 0.0}
BELOW = ("loss/total", "loss/mask", "loss/geometry")


def perturbed(pose: Pose, seed: int) -> Pose:
    rng = np.random.default_rng(seed)
    axis, shift = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    turn = Rotation.from_rotvec(ANGLE * axis).as_matrix()
    return Pose(turn @ pose.R_m2c, pose.t_m2c + SHIFT_M * shift)


def watering_can(folder: Path) -> tuple[Path, Path, int, Pose]:
    """With ground truth."""
    data = folder / "single" / "lmo_000003"
    truth = next(t for t in open_dataset(data).truth(0) if t.object_id == 5)
    return data, data / "obj_000005.ply", 5, truth.pose


def bottle(folder: Path) -> tuple[Path, Path, int, Pose]:
    """With another program's estimate: quaternion xyzw and metres."""
    data = folder / "single" / "bbq_sauce"
    record = json.loads((data / "outputs" / "object_data.json").read_text())
    quaternion, shift = record[0]["TWO"]
    pose = Pose(Rotation.from_quat(quaternion).as_matrix(), np.array(shift))
    return data, data / "meshes" / "hope-obj_000002.ply", 2, pose


@pytest.mark.timeout(300 + 60 * SEEDS)
# the bottle's is another program's estimate: with all terms on we settle 3.7 degrees from it
@pytest.mark.parametrize(("case", "degrees"), [(watering_can, 3), (bottle, 5)])
def test_losses_and_errors_fall(real_data: Path, case, degrees: float) -> None:
    data, mesh, object_id, pose = case(real_data)
    overrides = {} if FULL else SMALL
    ends = []
    for seed in range(SEEDS):
        result = jobs.optimize(
            data, [mesh], 0, object_id, init=perturbed(pose, seed), overrides=overrides,
            seed=seed, device="cpu",
        )  # fmt: skip
        way = result["summary"]
        R, t = np.array(result["R_m2c"]), np.array(result["t_m2c"])
        angle = np.degrees(Rotation.from_matrix(R @ pose.R_m2c.T).magnitude())
        distance = 1000 * np.linalg.norm(t - pose.t_m2c)
        ends.append((angle, distance))
        falls = "  ".join(f"{name} {way[name][0]:.4g} -> {way[name][1]:.4g}" for name in BELOW)
        print(f"{case.__name__} {seed}: {angle:.2f} deg {distance:.1f} mm  {falls}", flush=True)
        assert all(way[name][1] < way[name][0] for name in BELOW)
    middle = [median(values) for values in zip(*ends)]
    print(f"{case.__name__}: median {middle[0]:.2f} deg {middle[1]:.1f} mm of {SEEDS} seeds")
    assert middle[0] <= degrees
    assert middle[1] <= 8
