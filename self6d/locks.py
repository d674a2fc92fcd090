"""Who holds a folder: an operating-system lock, and a note beside it that says who and since when.

The operating system frees its lock when the holder dies, so on a local disk a lock is never stale;
the note then only explains. On network disks the lock may not work or not be freed; there the note
decides: the holder touches it every few seconds, and one not touched for a while can be taken.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import filelock
import psutil

from self6d.errors import LockedError, from_os_error
from self6d.storage import atomic_write, remove_leftovers

STALE_S = 120.0
BEAT_S = 10.0
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)  # what a disk without them says


class FolderLock:
    """Exclusive hold on a folder.

    Args:
        folder: an existing folder.
        what: the holder, for people, such as "train".
        force: take a lock whose holder cannot be shown to be alive, however young.
        clear: folders from which a killed holder's temporary files go once the lock is held.
    """

    def __init__(
        self,
        folder: str | Path,
        what: str = "",
        *,
        force: bool = False,
        clear: Iterable[Path] = (),
    ) -> None:
        self.folder = Path(folder)
        self.explanation: str | None = None
        self._what = what
        self._force = force
        self._clear = tuple(clear)
        self._note = self.folder / "lock.json"
        self._os_lock = filelock.FileLock(self.folder / ".lock", thread_local=False)
        self._last_beat = 0.0

    def acquire(self) -> str | None:
        """Take the lock.

        Returns:
            one line that explains a stale lock which was taken over, else None.

        Raises:
            LockedError: somebody else holds it; says who, where and since when.
            StorageError, InputError: the folder cannot be written.
        """
        try:
            self._os_lock.acquire(timeout=0)
        except filelock.Timeout:
            raise self._refusal(read_owner(self.folder)) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise from_os_error(error, self.folder) from error
        owner = read_owner(self.folder)
        if owner is not None:
            if not self._force and _may_be_alive(owner, self._note):
                self._os_lock.release()
                raise self._refusal(owner)
            self.explanation = f"took over the lock of {describe_owner(owner)}, which is gone"
        try:
            atomic_write(self._note, json.dumps(_myself(self._what)).encode())
        except OSError as error:
            self._os_lock.release()
            raise from_os_error(error, self.folder) from error
        self._last_beat = time.monotonic()
        for folder in self._clear:
            remove_leftovers(folder)
        return self.explanation

    def beat(self) -> None:
        """Show that the holder lives; cheap, call it often."""
        if time.monotonic() - self._last_beat > BEAT_S:
            self._last_beat = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self._note)

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)
        self._os_lock.release()

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _refusal(self, owner: dict[str, Any] | None) -> LockedError:
        return LockedError(
            f"in use by {describe_owner(owner)}",
            path=self.folder,
            remedy="Stop it first, or use another folder; if it is certain that it no longer "
            "runs, take the lock with --take-lock.",
        )


def read_owner(folder: str | Path) -> dict[str, Any] | None:
    """The note of the holder, or None."""
    try:
        owner = json.loads((Path(folder) / "lock.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) else None


def is_held(folder: str | Path) -> bool:
    """Whether a living process holds the folder."""
    owner = read_owner(folder)
    return owner is not None and _may_be_alive(owner, Path(folder) / "lock.json")


def describe_owner(owner: dict[str, Any] | None) -> str:
    """Such as `train (process 4711 on rig, since 12:03, 5 min ago)`."""
    if owner is None:
        return "another process"
    since = owner.get("since")
    when = ""
    if isinstance(since, int | float):
        clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(since))
        when = f", since {clock}, {max(time.time() - since, 0) / 60:.0f} min ago"
    return (
        f"{owner.get('what') or 'a job'} (process {owner.get('pid')} on {owner.get('host')}{when})"
    )


def _myself(what: str) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.time(),
        "started": psutil.Process().create_time(),
        "what": what,
    }


def _may_be_alive(owner: dict[str, Any], note: Path) -> bool:
    if owner.get("host") == socket.gethostname():
        try:
            started = psutil.Process(int(owner["pid"])).create_time()
            # a number that came round again belongs to a younger process
            return abs(started - float(owner["started"])) < 1.0
        except (psutil.Error, KeyError, TypeError, ValueError):
            return False
    if not isinstance(owner.get("host"), str):
        return False
    try:
        return time.time() - note.stat().st_mtime < STALE_S
    except OSError:
        return False
