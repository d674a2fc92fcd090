"""Asking for files and folders: a dialog starts where the last thing of its kind lies."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget

from studio.model.settings import Settings


def old_folder(
    parent: QWidget, settings: Settings, what: str, title: str, start: Path | None = None
) -> Path | None:
    """A folder that is there; None: none was chosen.

    Args:
        what: kind of thing, such as "recording". start: where the first one is looked for.
    """
    begin = settings.place(what, start)
    name = QFileDialog.getExistingDirectory(parent, title, str(begin))
    return _kept(settings, what, Path(name).parent, Path(name)) if name else None


def folder_for(parent: QWidget, settings: Settings, what: str, title: str) -> Path | None:
    """A folder to make something in."""
    name = QFileDialog.getExistingDirectory(parent, title, str(settings.place(what)))
    return _kept(settings, what, Path(name), Path(name)) if name else None


def old_files(
    parent: QWidget, settings: Settings, what: str, title: str, kinds: str = "", *,
    one: bool = True, start: Path | None = None,
) -> list[Path]:  # fmt: skip
    """Files that are there.

    Args:
        kinds: such as "Tables (*.csv *.tsv)". one: no more than one. start: where the first ones
            are looked for.
    """
    ask = QFileDialog.getOpenFileName if one else QFileDialog.getOpenFileNames
    names, _ = ask(parent, title, str(settings.place(what, start)), kinds)
    paths = [Path(name) for name in ([names] if isinstance(names, str) else names) if name]
    return [_kept(settings, what, path.parent, path) for path in paths]


def new_file(
    parent: QWidget, settings: Settings, what: str, title: str, kind: str, name: str = ""
) -> Path | None:
    """Where to write a file; None: nowhere.

    Args:
        kind: "*.csv" or "Tables (*.csv)"; a name without an ending gets this one.
        name: that is offered.
    """
    dialog = QFileDialog(parent, title, str(settings.place(what)), kind)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(kind.rpartition("*.")[2].rstrip(")"))
    dialog.selectFile(name)
    chosen = dialog.selectedFiles() if dialog.exec() else []
    dialog.deleteLater()
    return _kept(settings, what, Path(chosen[0]).parent, Path(chosen[0])) if chosen else None


def _kept(settings: Settings, what: str, place: Path, path: Path) -> Path:
    settings.keep_place(what, place)
    return path
