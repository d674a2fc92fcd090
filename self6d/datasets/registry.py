"""Which reader a path needs: a table of layouts, each recognised by one function with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from self6d.datasets.bop import BopRecording, scene_groups
from self6d.datasets.folder import FolderRecording, list_images
from self6d.datasets.recording import Recording
from self6d.errors import InputError
from self6d.files import forget_notes, unreadable


@dataclass(frozen=True)
class Layout:
    """A way of laying out a recording.

    Attributes:
        recognise: folder -> why it is of this layout, or "" if it is not.
        open: reader.
    """

    name: str
    recognise: Callable[[Path], str]
    open: Callable[..., Recording]


def _bop(path: Path) -> str:
    groups = scene_groups(path)
    count = sum(len(scenes) for scenes in groups.values())
    return f"{count} folder(s) with scene_camera.json: BOP layout" if count else ""


def _folder(path: Path) -> str:
    rgb, depth = list_images(path)
    if not rgb:
        return ""
    return f"{len(rgb)} colour and {len(depth)} depth images: plain RGB-D folder"


LAYOUTS = (
    Layout("bop", _bop, BopRecording.open),
    Layout("folder", _folder, FolderRecording.open),
)


def open_dataset(path: str | Path, kind: str = "auto") -> Recording:
    """Open a recording, its layout found from what lies there.

    Args:
        path: folder (or, for recordings kept in one file, that file).
        kind: name of a layout to use instead of finding it.

    Returns:
        A `self6d.datasets.base.Dataset`; its `reason` says what was recognised.

    Raises:
        InputError: nothing there, nothing recognised, or the recording is damaged.
    """
    path = Path(path)
    forget_notes()
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise unreadable(path, "recording", error) from None
    if not exists:
        raise InputError("there is no such folder", path=path, remedy="Check the path.")
    if not is_folder:
        raise InputError(
            "is a file, not a recording", path=path, remedy="Name the folder that holds it."
        )
    try:
        return _open(path, kind)
    except OSError as error:
        raise unreadable(Path(error.filename or path), "recording", error) from None


def _open(path: Path, kind: str) -> Recording:
    names = [layout.name for layout in LAYOUTS]
    if kind != "auto" and kind not in names:
        raise InputError(
            f"layout '{kind}' is unknown", remedy=f"Use one of: auto, {', '.join(names)}."
        )
    for layout in LAYOUTS:
        if kind not in ("auto", layout.name):
            continue
        reason = layout.recognise(path)
        if reason or kind != "auto":
            return layout.open(path, reason=reason or f"opened as {kind}, as asked")
    raise InputError(
        "holds no recording of a known layout",
        path=path,
        remedy="Expected rgb/ and depth/ images with camera.json, or BOP scene folders.",
    )
