"""Single-image optimisation in the window: the pose follows the job, then can be replayed."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject

from self6d.events import Finished, Preview
from studio.engine.types import PoseData
from studio.jobs import Job
from studio.model.project import PoseKey, Project
from studio.posing.panel import PosePanel


class SingleImage(QObject):
    """Remembers which frame and object each job works on and from which pose it started."""

    def __init__(self, project: Project, panel: PosePanel, parent: QObject) -> None:
        super().__init__(parent)
        self.project, self.panel = project, panel

    def watch(self, job: Job) -> None:
        """Follow a job that was just submitted for the selected frame and object."""
        project = self.project
        if project.object_id is None:
            return
        key, number = (project.frame_index, project.object_id), project.number
        before = project.poses.get(key)

        def preview(got: Preview) -> None:
            if number == project.number:
                self._on_preview(key, got)

        def finished(ending: Finished) -> None:
            if number == project.number:
                self._on_finished(key, before, ending)

        job.preview.connect(preview)
        job.finished.connect(finished)

    def _on_preview(self, key: PoseKey, preview: Preview) -> None:
        poses = [PoseData.from_dict(entry) for entry in preview.poses]
        if poses:
            told = f"optimised on this image, step {preview.step}"
            self.project.put_poses(key[0], poses[:1], told)

    def _on_finished(self, key: PoseKey, before: PoseData | None, ending: Finished) -> None:
        result = ending.result
        if "R_m2c" not in result:
            if before is not None:
                self.project.put_poses(key[0], [before], "edited")
            return
        pose = PoseData.from_dict({**result, "object_id": key[1]})
        self.project.edit_pose_at(key, before, pose, "Optimise pose", "optimised")
        self.panel.show_replay(key, replay_rows(result.get("trajectory") or {}))


def replay_rows(trajectory: dict[str, Any]) -> list[dict[str, Any]]:
    """The job's trajectory as a row a step."""
    R, t = trajectory.get("R_m2c", []), trajectory.get("t_m2c", [])
    totals = trajectory.get("loss/total", [None] * len(R))
    angles = trajectory.get("error/rotation_deg", [None] * len(R))
    shifts = trajectory.get("error/translation_mm", [None] * len(R))
    return [
        {"step": i, "R_m2c": R[i], "t_m2c": t[i], "total": totals[i], "degrees": angles[i],
         "mm": shifts[i]}
        for i in range(len(R))
    ]  # fmt: skip
