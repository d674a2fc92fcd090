"""What the window remembers between runs: look, layout, recent projects, where runs go
and other things lie."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QSettings

MAX_RECENT = 8


class Settings:
    """A typed face over QSettings.

    Args:
        path: an INI file; None uses SELF6D_STUDIO_CONFIG or else the user's own configuration.
    """

    def __init__(self, path: Path | None = None) -> None:
        named = path or os.environ.get("SELF6D_STUDIO_CONFIG")
        if named:
            self._store = QSettings(str(named), QSettings.Format.IniFormat)
        else:
            self._store = QSettings(
                QSettings.Format.IniFormat, QSettings.Scope.UserScope, "self6d-studio", "studio"
            )

    @property
    def file(self) -> Path:
        return Path(self._store.fileName())

    def sync(self) -> None:
        self._store.sync()

    @property
    def theme(self) -> str:
        """ "light", "dark" or "system"."""
        return str(self._store.value("theme", "system"))

    @theme.setter
    def theme(self, name: str) -> None:
        self._store.setValue("theme", name)

    @property
    def runs_folder(self) -> Path:
        """New runs are made in here, each in a folder of its own."""
        return Path(str(self._store.value("runs_folder", Path.home() / "self6d-runs")))

    @runs_folder.setter
    def runs_folder(self, folder: Path) -> None:
        self._store.setValue("runs_folder", str(folder))

    def place(self, what: str, start: Path | None = None) -> Path:
        """Where the last thing of a kind lies, such as a "recording"; else `start`, or home."""
        kept = self._store.value(f"place/{what}")
        return Path(str(kept)) if kept and Path(str(kept)).is_dir() else start or Path.home()

    def keep_place(self, what: str, folder: Path) -> None:
        self._store.setValue(f"place/{what}", str(folder))

    @property
    def runner(self) -> str:
        """ "process" (survives the window and a crash) or "thread"."""
        return str(self._store.value("runner", "process"))

    @runner.setter
    def runner(self, name: str) -> None:
        self._store.setValue("runner", name)

    def layout(self) -> tuple[QByteArray, QByteArray] | None:
        """(geometry, state) of the main window, None at the first start."""
        geometry, state = self._store.value("geometry"), self._store.value("state")
        if isinstance(geometry, QByteArray) and isinstance(state, QByteArray):
            return geometry, state
        return None

    def save_layout(self, geometry: QByteArray, state: QByteArray) -> None:
        self._store.setValue("geometry", geometry)
        self._store.setValue("state", state)

    def forget_layout(self) -> None:
        self._store.remove("geometry")
        self._store.remove("state")

    def recent(self) -> list[dict[str, Any]]:
        """Newest first: {"recording", "models": [paths], "unit" of those}; without what is gone.

        "edits", see `keep_edits`, are there where the recording has been left since.
        """
        return [r for r in self._json("recent", []) if Path(r["recording"]).exists()]

    def add_recent(self, recording: Path, models: list[Path], unit: str = "auto") -> None:
        paths = [str(m) for m in models]
        entry = {"recording": str(recording), "models": paths, "unit": unit}
        known = self._json("recent", [])
        others = [r for r in known if r["recording"] != entry["recording"]]
        for before in known:
            same = before["recording"] == entry["recording"] and before["models"] == paths
            if same and before.get("edits"):
                entry["edits"] = before["edits"]
        self._store.setValue("recent", json.dumps([entry, *others][:MAX_RECENT]))

    def keep_edits(self, recording: Path, models: list[Path], edits: dict[str, Any]) -> None:
        """What was placed by hand in a recent recording with these CAD files; empty: nothing."""
        known = self._json("recent", [])
        for entry in known:
            if entry["recording"] == str(recording) and entry["models"] == list(map(str, models)):
                entry["edits"] = edits
        self._store.setValue("recent", json.dumps(known))

    def workspace(self) -> dict[str, Any]:
        """The state to come back to (see `Project.to_dict`); empty if there is none."""
        return self._json("workspace", {})

    def save_workspace(self, state: dict[str, Any]) -> None:
        self._store.setValue("workspace", json.dumps(state))
        self._store.sync()

    def _json(self, key: str, default: Any) -> Any:
        """A stored value of the default's type; anything else counts as absent."""
        try:
            value = json.loads(str(self._store.value(key, "")))
        except ValueError:
            return default
        return value if isinstance(value, type(default)) else default
