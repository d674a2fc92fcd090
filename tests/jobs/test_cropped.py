"""Cropped LineMOD through `evaluate`: of each crop its object and how it is turned."""

from __future__ import annotations

from pathlib import Path

import recordings as world
import trimesh
from scipy.spatial.transform import Rotation

from self6d import jobs
from self6d.datasets import open_dataset
from self6d.evaluation import Prediction
from self6d.evaluation.bop_results import write_bop_results
from self6d.scene.known import LINEMOD


def test_a_cropped_set_is_scored_by_class_and_rotation(tmp_path: Path) -> None:
    root, models = tmp_path / "lm", tmp_path / "lm" / "models"
    ids, images = (1, 2), (0, 1, 2)
    for object_id in ids:
        world.bop_scene(root / "test" / f"{object_id:06d}", images, object_id=object_id)
        name = {1: "ape", 2: "benchvise"}[object_id]
        world.dump(models / "models_info.json", {i: {"diameter": LINEMOD[i][1]} for i in ids})
        box = trimesh.creation.box([0.6 * LINEMOD[object_id][1]] * 3)
        box.export(models / f"obj_{object_id:06d}.ply")
        lists = root / "image_set_lm_crop"
        lists.mkdir(exist_ok=True)
        (lists / f"lm_crop_test_{name}.txt").write_text("0\n1\n2\n")
    crops = open_dataset(root).split("lmcrop11-test")
    assert len(crops) == 6
    turn = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    found = []
    for index, key in enumerate(crops.keys):
        (label,) = crops.truth(index)
        # the first image of each scene is taken for the other object
        object_id = label.object_id if key.image_id else 3 - label.object_id
        pose = label.pose
        found.append(
            Prediction(key.scene_id, key.image_id, object_id, 0.9, pose.R_m2c @ turn, pose.t_m2c)
        )
    file = write_bop_results(tmp_path / "own_lm-test.csv", found)
    (result,) = jobs.evaluate(
        root, models, [], results=[file], split="lmcrop11-test", unit="mm", device="cpu"
    ).results
    assert result.remark.startswith(
        "class right in 66.7 % of the crops, and the rotation of these 30.0 degrees off in the mean"
    )
