"""Taking a job to another machine: a folder with all that it reads and one command."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject

from studio.jobs import JobSpec
from studio.jobs.run_info import free_name
from studio.shell.window import StudioWindow
from studio.shell.wiring.one_at_a_time import OneAtATime
from studio.toolkit.asking import folder_for
from studio.training.panel import RunPanel


class Elsewhere(OneAtATime):
    """Packs the job that is set up, or a run once more; one at a time."""

    def __init__(
        self, window: StudioWindow, train: RunPanel, adapt: RunPanel, parent: QObject
    ) -> None:
        super().__init__(
            window, "a job's folder", "Copying frames",
            "Another job's folder is being written: wait for its end.", parent,
        )  # fmt: skip
        self._train, self._adapt = train, adapt
        window.runs.packWanted.connect(self.ask)

    def ask_for_setup(self) -> None:
        """The job that the present step's panel holds."""
        panel = self._train if self.window.project.step == "synthetic" else self._adapt
        spec = panel.spec()
        if spec is None:
            self.window.say("warn", panel.problem.text())
        else:
            self.ask(spec)

    def ask(self, spec: JobSpec) -> None:
        """Where to, then write it."""
        parent = folder_for(self.window, self.window.settings, "job", "Folder for the job")
        if parent is not None:
            self.pack(spec, free_name(parent, f"{spec.out.name}-job"))

    def pack(self, spec: JobSpec, folder: Path) -> None:
        """Write a job's folder in the background."""
        if self.free():
            self.start("pack", spec.arguments(), str(folder), done=lambda _: self._on_done(folder))

    def _on_done(self, folder: Path) -> None:
        self.tell(
            f"{folder} holds all that the job reads. Copy it to the other machine, do "
            "`sh run.sh` in it there, and drop the run that it makes on this window.",
            folder, stays=True,
        )  # fmt: skip
