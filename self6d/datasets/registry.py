"""Which reader a path needs: a table of layouts, each recognised by one function with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from self6d.datasets.images import RGB_SUFFIXES, UNREAD_SUFFIXES
from self6d.datasets.readers import (
    bop,
    cropped,
    film,
    folder,
    linemod,
    linemod_preprocessed,
    record3d,
    scannet,
    single,
    stray,
    tum,
    ycb_video,
)
from self6d.datasets.readers.bags import recording as bag
from self6d.datasets.readers.bags.file import BAG_SUFFIXES
from self6d.datasets.readers.film import FILM_SUFFIXES
from self6d.datasets.recording import Recording
from self6d.errors import InputError
from self6d.files import forget_notes, note, unreadable
from self6d.scene.mesh_names import MESH_SUFFIXES


@dataclass(frozen=True)
class Layout:
    """A way of laying out a recording.

    Attributes:
        name: reader's name.
        recognise: folder -> why it is of this layout, or "" if it is not.
        open: the reader.
    """

    name: str
    recognise: Callable[[Path], str]
    open: Callable[..., Recording]


def _open_cropped(path: Path, *, reason: str = "") -> Recording:
    """The crops of a LineMOD folder in BOP's layout."""
    return cropped.CroppedRecording(bop.BopRecording.open(path), reason=reason)


LEVELS_UP = 4  # an image of a BOP set is looked for from its own folder up to the set's
LEVELS_DOWN = 3  # how far below a folder a recording is looked for, to be named
MANY_FOLDERS = 200  # of a level: someone's whole disk is not searched

# The first that recognises a folder reads it: the most particular layouts come first.
LAYOUTS = (
    Layout("bop", bop.recognise, bop.BopRecording.open),
    Layout(
        "linemod_preprocessed",
        linemod_preprocessed.recognise,
        linemod_preprocessed.PreprocessedLinemod.open,
    ),
    # never by itself: the folder is LineMOD's, and opens as that unless crops are asked for
    Layout("cropped_linemod", lambda path: "", _open_cropped),
    Layout("linemod", linemod.recognise, linemod.LinemodRecording.open),
    Layout("ycb_video", ycb_video.recognise, ycb_video.YcbVideoRecording.open),
    Layout("scannet", scannet.recognise, scannet.ScanNetRecording.open),
    Layout("record3d", record3d.recognise, record3d.Record3DRecording.open),
    Layout("stray", stray.recognise, stray.StrayRecording.open),
    Layout("tum", tum.recognise, tum.TumRecording.open),
    Layout("single", single.recognise, single.SingleFrame.open),
    Layout("folder", folder.recognise, folder.FolderRecording.open),
    Layout("bag", bag.recognise, bag.BagRecording.open),
)

# What people also point at, and how to turn it into something read here.
_FOREIGN = {
    ".mkv": "Unpack what an Azure Kinect recorded by Open3D's `azure_kinect_mkv_reader.py --input "
    "FILE --output DIR`: color/, depth/ registered to it, and intrinsic.json. Open DIR. Of another "
    "film, predict and live take the colour (--camera FILE).",
    ".sens": "Unpack it with ScanNet's SensReader: `python reader.py --filename FILE "
    "--output_path DIR --export_color_images --export_depth_images --export_intrinsics`.",
    ".r3d": "Export the take from Record3D as RGB images and depth.",
    ".zip": "Unpack it first.",
    ".tar": "Unpack it first.",
    ".gz": "Unpack it first.",
    ".7z": "Unpack it first.",
}


def is_recording(path: str | Path) -> bool:
    """Whether a path can be a recording rather than a camera file: a folder, a bag or a film."""
    path = Path(path)
    return path.is_dir() or path.suffix.lower() in (*BAG_SUFFIXES, *FILM_SUFFIXES)


def open_dataset(path: str | Path, kind: str = "auto") -> Recording:
    """Open a recording, its layout found from what lies there.

    Args:
        path: folder, bag, film, or the colour image of a single frame.
        kind: name of a layout to use instead of finding it.

    Returns:
        A `self6d.datasets.base.Dataset`; its `reason` says what was recognised.

    Raises:
        InputError: nothing there, nothing recognised, or the recording is damaged.

    >>> dataset = open_dataset(recording)
    >>> dataset.kind, dataset.frame(0).rgb.shape
    ('bop', (96, 128, 3))
    """
    if isinstance(path, str) and not path.strip():  # Path("") is the current folder
        raise InputError("no recording is named: the path is empty", remedy="Name its folder.")
    path = Path(path)
    forget_notes()
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise unreadable(path, "recording", error) from None
    if not exists:
        raise InputError("there is no such folder", path=path, remedy="Check the path.")
    try:
        return _open(path, kind) if is_folder else _open_file(path)
    except OSError as error:
        raise unreadable(Path(error.filename or path), "recording", error) from None


def _open_file(path: Path) -> Recording:
    suffix = path.suffix.lower()
    if suffix in BAG_SUFFIXES:
        return bag.BagRecording.open(path, reason=bag.recognise(path))
    if suffix in RGB_SUFFIXES:
        try:
            return single.SingleFrame.open(path, reason="an image file: single image")
        except InputError:
            if (found := _one_of_recording(path)) is None:
                raise
            return found
    if suffix in MESH_SUFFIXES:
        what, remedy = "is a CAD model, not a recording", "Give it as --models."
    elif suffix in _FOREIGN:
        what, remedy = f"is a {suffix} file, which is not read directly", _FOREIGN[suffix]
    elif suffix in UNREAD_SUFFIXES:
        what, remedy = f"is a {suffix} image, which is not read", "Convert it to PNG or JPEG."
    elif suffix in FILM_SUFFIXES:
        return film.FilmRecording.open(path, reason="a film: its colour alone")
    else:
        what, remedy = "is a file, not a recording", "Name the folder that holds it."
    raise InputError(what, path=path, remedy=remedy)


def _one_of_recording(image: Path) -> Recording | None:
    """The recording above an image that has it among its frames, restricted to it, with a note."""
    image = image.absolute()
    for above in image.parents[:LEVELS_UP]:
        try:
            recording = _open(above, "auto")
        except (OSError, InputError):
            continue
        for key in recording.keys:
            if recording.source(key).rgb.absolute() == image:
                note(image, f"is frame {key.image_id} of the {recording.kind} recording {above}, "
                            "whose camera and depth are used")  # fmt: skip
                return recording.only(key)
    return None


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
    bags = [bag.name for bag in _bags_in(path)]
    if bags:
        raise InputError(
            f"holds {len(bags)} bags", path=path, remedy=f"Name one of them, such as {bags[0]}."
        )
    inside = _recordings_below(path)
    if inside:
        named = ", ".join(inside[:4]) + (", ..." if len(inside) > 4 else "")
        raise InputError(
            f"is no recording, but holds {len(inside)}: {named}",
            path=path,
            remedy=f"Name one of them, such as {path / inside[0]}.",
        )
    films = sorted(p for p in path.iterdir() if p.suffix.lower() in FILM_SUFFIXES)
    if len(films) > 1:
        raise InputError(
            f"holds {len(films)} films", path=path, remedy=f"Name one of them, such as {films[0]}."
        )
    for entry in [*films, *sorted(path.iterdir())]:
        if entry.suffix.lower() in (*_FOREIGN, *FILM_SUFFIXES):
            return _open_file(entry)
    raise InputError(
        "holds no recording of a known layout",
        path=path,
        remedy="Expected rgb/ and depth/ images with camera.json, or BOP scene folders.",
    )


def _recordings_below(path: Path) -> list[str]:
    """Recordings in a folder's folders, else in theirs, as archives unpack; below the folder."""
    level = _folders_in(path)[:MANY_FOLDERS]
    for _ in range(LEVELS_DOWN):
        found = [f for f in level if _is_known(f)] or [b for f in level for b in _bags_in(f)]
        if found:
            return [str(f.relative_to(path)) for f in found]
        level = [f for above in level for f in _folders_in(above)][:MANY_FOLDERS]
    return []


def _bags_in(path: Path) -> list[Path]:
    try:
        return sorted(p for p in path.iterdir() if p.suffix.lower() in BAG_SUFFIXES)
    except OSError:
        return []


def _folders_in(path: Path) -> list[Path]:
    try:
        return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []


def _is_known(path: Path) -> bool:
    try:
        return any(layout.recognise(path) for layout in LAYOUTS)
    except (OSError, InputError):
        return False
