"""Reading people's files: every fault becomes one `InputError` that names the file and the remedy.

A repaired fault is a note: one warning on `logging.getLogger("self6d")`, once per folder and text.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from self6d.errors import InputError, StorageError, from_os_error
from self6d.paths import REALSENSE, is_package
from self6d.storage import atomic_write, is_device

log = logging.getLogger("self6d")

LFS_HEAD = b"version https://git-lfs"
_NOTED_LIMIT = 4096
_copies: set[str] = set()
_noted: OrderedDict[tuple[str, str], None] = OrderedDict()
_once: ContextVar[bool] = ContextVar("noted_once", default=False)


def is_copy(folder: str | Path) -> None:
    """Files in a folder were made here of others, whose repaired faults were told: say no more."""
    _copies.add(str(Path(folder)))


def note(path: str | Path, text: str, *, anywhere: bool = False) -> None:
    """Tell the user of a repaired fault, once for all files of a folder with the same fault.

    Args:
        anywhere: once for all folders, such as runs' copies of the same models.
    """
    path = Path(path)
    key = ("" if anywhere else str(path.parent), text)
    if key not in _noted and str(path.parent) not in _copies:
        _noted[key] = None
        if len(_noted) > _NOTED_LIMIT:
            _noted.popitem(last=False)
        log.warning("%s: %s", path, text)


def forget_notes() -> None:
    """Let notes already given be given again (a dataset opened anew, a test)."""
    if not _once.get():
        _noted.clear()


@contextmanager
def noted_once() -> Iterator[None]:
    """Within one job, which opens a recording several times, each note is given once."""
    forget_notes()
    before = _once.set(True)
    try:
        yield
    finally:
        _once.reset(before)


def is_lfs_stub(head: bytes) -> bool:
    """Whether a file's first bytes are those of a Git-LFS pointer."""
    return head.startswith(LFS_HEAD)


def read_bytes(path: str | Path, what: str = "file") -> bytes:
    """The whole file.

    Raises:
        InputError: missing, unreadable, empty, a folder, a link loop or a Git-LFS pointer.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise unreadable(path, what, error) from None
    if not data:
        raise InputError(f"{what} is empty", path=path, remedy="Copy or record it again.")
    if is_lfs_stub(data[:64]):
        raise lfs_stub(path, what)
    return data


def unreadable(path: str | Path, what: str, error: Exception) -> InputError:
    """The `InputError` for an operating-system error met while reading `path`."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{what} is missing", path=path, remedy="Check the path.")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{what} is a folder", path=path, remedy="Name a file.")
    if isinstance(error, PermissionError):
        return InputError(f"{what} may not be read", path=path, remedy="Change its permissions.")
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"{what} cannot be read ({reason})", path=path, remedy="Check the path.")


def lfs_stub(path: str | Path, what: str = "file") -> InputError:
    """The `InputError` for a Git-LFS pointer."""
    return InputError(
        f"{what} is a Git-LFS pointer, not the data",
        path=path,
        remedy="Run `git lfs pull` in its repository, or download the file itself.",
    )


def read_text(path: str | Path, what: str = "file") -> str:
    """The file as UTF-8 text, a byte-order mark removed."""
    try:
        return read_bytes(path, what).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{what} is not UTF-8 text", path=path, remedy="Save it again.") from None


NEW = "Name a new folder."
OR_RESUME = "Name a new folder, or go on with this one with --resume."


def is_free(folder: Path) -> bool:
    """Whether a folder can be made there: nothing is there, or an empty folder.

    Raises:
        InputError, StorageError: it cannot be looked at.
    """
    try:
        return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    except OSError as error:
        raise from_os_error(error, folder) from error


def check_free(folder: Path, remedy: str = NEW) -> None:
    """Before long work: nothing of the user's is overwritten, and the folder can be made.

    Raises:
        InputError: it holds something, or a file is in its way. StorageError: see `check_writable`.
    """
    if not is_free(folder):
        raise InputError("exists already and is not empty", path=folder, remedy=remedy)
    check_writable(folder)


def check_writable(path: Path) -> None:
    """Before long work: a file or folder of this name can be made, with the folders around it.

    Raises:
        InputError: a file is in its way. StorageError: no right to write, a read-only disk.
    """
    if is_there(path) and is_device(path):
        return
    folder = path.parent if path.is_file() else path
    while not is_there(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise from_os_error(OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), path)
    own = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=own):
        still = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
        code = errno.EROFS if still else errno.EACCES
        raise from_os_error(OSError(code, os.strerror(code)), path)


def check_new(path: Path, *, or_device: bool = False) -> None:
    """Nothing is written over.

    Args:
        or_device: a pipe or a device may be there, for what is written as a stream.

    Raises:
        InputError: there is such a file or folder.
    """
    if is_there(path) and not (or_device and is_device(path)):
        raise InputError("exists already", path=path, remedy="Name a new file.")


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder; a name that no file can have is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


POSE_EXAMPLE = '{"R_m2c": [[1, 0, 0], [0, 0, -1], [0, 1, 0]], "t_m2c_mm": [0, 0, 500]}'
WRITE_POSE = f"Write such as {POSE_EXAMPLE}, a model whose z is up, upright half a metre ahead."


def run_remedy(path: Path, usual: str) -> str:
    """What to do where a folder is no run: a package that export made is used in other ways."""
    if not is_package(path):
        return usual
    return (
        "It is a package that export made: use it with predict --from, track --from, "
        "live, its example.py or self6d.packaging.load_package, or name the run that it was made "
        "from."
    )


def check_live_source(source: str) -> None:
    """A source of `live` that is no camera must be there; else InputError."""
    if source != REALSENSE and not source.isdecimal() and not is_there(Path(source)):
        raise InputError(
            "there is no such video, folder or bag", path=Path(source), remedy="Check the path."
        )


def read_json(path: str | Path, what: str = "file", kind: type | tuple = dict) -> Any:
    """Parsed JSON whose top level is of type `kind`."""
    text = read_text(path, what)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(
            f"{what} is not valid JSON ({reason})", path=path, remedy="Write or copy it again."
        ) from None
    return _of_kind(value, kind, path, what)


def read_poses(path: str | Path) -> Any:
    """Parsed JSON of a file of poses that a user names; an error shows how one is written."""
    try:
        return read_json(path, "pose file", (dict, list))
    except InputError as error:
        remedy = WRITE_POSE if is_there(Path(path)) else error.remedy
        raise InputError(error.what, path=path, remedy=remedy) from None


def read_yaml(path: str | Path, what: str = "file", kind: type | tuple = dict) -> Any:
    """Parsed YAML (plain data only) whose top level is of type `kind`."""
    import yaml  # the command line starts without it

    text = read_text(path, what)
    if text.startswith("%YAML:1.0"):  # OpenCV's FileStorage writes a header that is not YAML
        text = text.split("\n", 1)[-1].replace("!!opencv-matrix", "")
    if _too_deep(text):
        raise InputError(f"{what} is nested too deeply", path=path, remedy="Write it again.")
    documents = [part for part in re.split(r"(?m)^---[ \t]*$", text) if part.strip()]
    if len(documents) > 1:  # as `rostopic echo` writes
        note(path, f"holds {len(documents)} documents of YAML; the first is read")
    text = documents[0] if documents else text
    try:
        value = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{what} is not valid YAML ({reason})", path=path, remedy="Write or copy it again."
        ) from None
    return _of_kind(value, kind, path, what)


def _too_deep(text: str, limit: int = 200) -> bool:
    """Nesting that would overrun the stack of libyaml's loader, which nothing catches."""
    if any(len(m) > 4 * limit for m in re.findall(r"^[ ?-]+", text, re.MULTILINE)):
        return True
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > limit


def _of_kind(value: Any, kind: type | tuple, path: str | Path, what: str) -> Any:
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        names = {dict: "an object of named values", list: "a list"}
        wanted = " or ".join(names.get(k, k.__name__) for k in kinds)
        raise InputError(
            f"{what} holds {type(value).__name__} where {wanted} is expected",
            path=path,
            remedy="Write it in the layout its name promises.",
        )
    return value


def write_file(path: Path, content: str | bytes) -> None:
    """Write a result; the folder is made.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise StorageError(
            f"cannot be written ({error.strerror})", path=path, remedy="Name another file."
        ) from error
