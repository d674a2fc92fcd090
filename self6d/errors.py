"""Typed errors. Each message is one line: what is wrong, with which file, and what to do.

The command line maps every type to its `exit_code` (docs/troubleshooting.md lists them); the
window shows the same text in a panel. Anything that is not a `Self6DError` is a defect of this
program.
"""

from __future__ import annotations

import errno
from pathlib import Path

INTERRUPTED = 130
"""Exit code of a command that somebody ended before its end: what follows it must not go on."""


class Self6DError(Exception):
    """Base of every error a user may meet.

    Args:
        what: the fault, one line.
        path: the file or folder concerned, if there is one.
        remedy: what the user can do about it, one line.
    """

    exit_code = 1

    def __init__(self, what: str, *, path: str | Path | None = None, remedy: str | None = None):
        self.what = what
        self.path = Path(path) if path is not None else None
        self.remedy = remedy
        super().__init__(self.one_line())

    def __reduce__(self) -> tuple:  # keyword-only arguments must survive a trip between processes
        return (_rebuild, (type(self), self.what, self.path, self.remedy))

    def one_line(self) -> str:
        """The message on a single line: `PATH: what. remedy`."""
        head = f"{self.path}: {self.what}" if self.path is not None else self.what
        text = f"{head.rstrip('.')}. {self.remedy}" if self.remedy else head
        return " ".join(text.split())


def _rebuild(
    cls: type[Self6DError], what: str, path: Path | None, remedy: str | None
) -> Self6DError:
    return cls(what, path=path, remedy=remedy)


class InputError(Self6DError):
    """The user's data, model, configuration or argument cannot be used as it is."""

    exit_code = 2


class MissingDependencyError(Self6DError):
    """An optional backend, package or weight file is not there; the remedy names it."""

    exit_code = 3


class CheckpointError(Self6DError):
    """A run folder or checkpoint is missing, damaged or of another kind."""

    exit_code = 4


class DivergenceError(Self6DError):
    """Training left the valid range (non-finite steps in a row, health collapse)."""

    exit_code = 5


class StorageError(Self6DError):
    """Writing failed: disk full, read-only, folder gone, permission denied."""

    exit_code = 6


class OutOfMemoryError(Self6DError):
    """The device's memory does not hold even the smallest batch."""

    exit_code = 7


class LockedError(Self6DError):
    """Another process holds the run or project; the message says who and since when."""

    exit_code = 8


_WRONG_PATH = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP,
    errno.EINVAL,
)  # fmt: skip


def from_os_error(
    error: OSError,
    path: str | Path | None = None,
    remedy: str = "Free space, change the permissions, or name another folder.",
) -> InputError | StorageError:
    """A fault of the operating system, as people should read it: a wrong path, or a storage fault.

    Args:
        path: the file or folder concerned, where the error does not say.
        remedy: of a storage fault.
    """
    named = path if path is not None else error.filename
    path = None if named is None else str(named)
    if path is not None and len(path) > 300:  # too long to be read, and perhaps that is the fault
        path = f"{path[:100]}...{path[-100:]}"
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _WRONG_PATH:
        return InputError(f"cannot be used ({reason})", path=path, remedy="Name another path.")
    return StorageError(f"cannot be written or read ({reason})", path=path, remedy=remedy)
