"""The session for the viewer Rerun: frames, CAD models, poses of the layers in sight, curves."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from PySide6.QtCore import QObject

from studio.engine.types import PoseData
from studio.jobs.run_info import free_name
from studio.model.layers import POSES
from studio.shell.window import StudioWindow
from studio.shell.wiring.one_at_a_time import OneAtATime
from studio.toolkit.asking import new_file

AT_WORK = "current poses"
NEEDS_RERUN = (
    "A .rrd file is written by the package rerun-sdk, which is not installed. "
    'Install it: pip install "self6d-studio[rerun]"'
)


class RerunExport(OneAtATime):
    """Writes one file at a time, in the background."""

    def __init__(self, window: StudioWindow, parent: QObject) -> None:
        super().__init__(
            window, "an export for Rerun", "Exporting frames",
            "Another session is being exported: wait for its end.", parent,
        )  # fmt: skip

    def ask(self) -> None:
        """Where to, then write it; without rerun-sdk how to install it."""
        project = self.window.project
        if project.recording_path is None:
            self.window.say("warn", "Open a recording first: its frames are exported.")
            return
        if find_spec("rerun") is None:  # `have_rerun` would load torch here
            self.window.say("warn", NEEDS_RERUN)
            return
        settings = self.window.settings
        named = free_name(settings.place("rrd"), project.recording_path.stem, suffix=".rrd").name
        path = new_file(
            self.window, settings, "rrd", "Export session for Rerun", "Rerun (*.rrd)", named
        )
        if path is not None:
            self.write(path if path.suffix == ".rrd" else path.with_name(f"{path.name}.rrd"))

    def write(self, out: Path) -> None:
        project = self.window.project
        if self.free():
            self.start(
                "write_rrd", str(out), str(project.recording_path), project.model_files,
                self.layers(), self.runs(), done=lambda _: self._on_done(out),
            )  # fmt: skip

    def layers(self) -> dict[str, dict[int, list[PoseData]]]:
        """Poses of the layers whose eye is open, by name and frame; never the truth."""
        project, predictions = self.window.project, self.window.predictions
        found: dict[str, dict[int, list[PoseData]]] = {}
        frames = range(len(project.recording or ()))
        for layer in self.window.layers.shown():
            if layer.key == POSES:
                poses = {i: project.frame_poses(i) for i in frames}
                found[AT_WORK] = {i: frame for i, frame in poses.items() if frame}
            elif layer.network is not None:
                known = {i: predictions.poses(layer.network, i) for i in frames}
                found[layer.name] = {i: frame for i, frame in known.items() if frame}
        return found

    def runs(self) -> dict[str, str]:
        """Folders of the runs in the list, by a name of their own; their curves are exported."""
        found: dict[str, str] = {}
        for run in self.window.project.runs:
            name, number = run.name, 2
            while name in found:
                name, number = f"{run.name}-{number}", number + 1
            found[name] = str(run.path)
        return found

    def _on_done(self, out: Path) -> None:
        said = f"The session is in {out}. Look at it: rerun {out.name}"
        self.tell(said, out.parent)
