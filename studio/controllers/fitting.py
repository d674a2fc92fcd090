"""Finds out which objects each listed run knows, so that none is used on others unnoticed."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject

from studio.engine import Engine
from studio.engine.types import ModelCard
from studio.model.project import Project


class Fitting(QObject):
    """Asks once a run for the CAD models in its folder and tells the project."""

    def __init__(self, project: Project, engine: Engine, parent: QObject) -> None:
        super().__init__(parent)
        self.project, self.engine = project, engine
        self._asked: set[Path] = set()
        project.runsChanged.connect(self._ask)
        project.modelsChanged.connect(self._ask)

    def _ask(self) -> None:
        if not self.project.models:
            return  # nothing to compare with; the helper need not be started
        for run in self.project.starts():
            if run.path not in self._asked:
                self._asked.add(run.path)
                self._look(run.path)

    def _look(self, path: Path) -> None:
        def arrived(models: list[ModelCard]) -> None:
            if models:
                self.project.set_known(path, models)
            else:  # not there yet: asked again as the list of runs changes
                self._asked.discard(path)

        self.engine.request("models_of_run", str(path), key=f"models of {path}", done=arrived,
                            failed=lambda _: self._asked.discard(path))  # fmt: skip
