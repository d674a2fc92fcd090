"""Asking for files and folders."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget


def new_file(parent: QWidget, title: str, start: Path, kind: str) -> Path | None:
    """Where to write a file; None: nowhere.

    Args:
        start: a folder, or the name that is offered.
        kind: "*.csv" or "Tables (*.csv)"; a name without an ending gets this one.
    """
    folder = start if start.is_dir() else start.parent
    dialog = QFileDialog(parent, title, str(folder), kind)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(kind.rpartition("*.")[2].rstrip(")"))
    if folder is not start:
        dialog.selectFile(start.name)
    chosen = dialog.selectedFiles() if dialog.exec() else []
    dialog.deleteLater()
    return Path(chosen[0]) if chosen else None
