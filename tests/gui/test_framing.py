"""The 3D view shows what is open whole: another thing, or the same in another unit, is framed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from studio.engine.types import PoseData

pytestmark = pytest.mark.gui


def test_another_object_of_the_same_number_is_framed(opened, sample, tmp_path, wait):
    """A CAD file opened alone is object 1 as the one before was: the camera stayed where it was."""
    project, view = opened.project, opened.workspace.stage.cloud_view
    project.select_object(1)
    project.edit_pose(PoseData(1, np.eye(3), np.array([0.0, 0.0, 0.6])), "Place object")
    wait(lambda: view.cloud is not None and len(view.cloud.model))
    camera = view._scene._camera
    fitted = camera.scale_factor
    camera.scale_factor = 9.0  # somebody has turned the wheel
    project.edit_pose(PoseData(1, np.eye(3), np.array([0.01, 0.0, 0.6])), "Move pose")
    wait(lambda: abs(view.cloud.model[:, 0].mean()) > 0.005)
    assert camera.scale_factor == 9.0  # of the same thing it is kept
    cad = tmp_path / f"{'long name ' * 8}.ply"
    shutil.copy(sample / "models" / "obj_000003.ply", cad)
    opened.opener.load_models([cad])
    wait(lambda: [m.source for m in project.models] == [str(cad)])
    assert project.object_id == 1
    project.edit_pose(PoseData(1, np.eye(3), np.array([0.0, 0.0, 0.6])), "Place object")
    wait(lambda: view.cloud is not None and len(view.cloud.model) and camera.scale_factor != 9.0)
    assert 0.3 * fitted < camera.scale_factor < 3 * fitted
    # its long name leaves the view its height
    assert project.models[0].name not in view.legend.drawn()
    assert project.models[0].name in view.legend.toolTip()
