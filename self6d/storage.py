"""Writing files so that a power cut leaves either the old content or the new, never a mixture."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

MOST_LINKS = 40  # from one to the next; the system follows no more
NOT_FLUSHED = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)  # of folders, on some network disks


def atomic_write(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write to a temporary neighbour, flush it to disk, rename it over `path`, flush the folder.

    A link stays one, and what it leads to is written; what is no file, such as /dev/stdout or a
    pipe, is written into.

    Args:
        durable: False leaves out the flushes: safe against a kill, not against a power cut.

    Raises:
        OSError: nothing was changed at `path`; the temporary file is removed.
    """
    if is_device(path):
        write_into(path, data)
        return
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # people know nothing of the temporary one
        raise
    if durable:
        sync_folder(path.parent)


def is_device(path: Path) -> bool:
    """Whether nothing may take the place of what is there: a pipe, a terminal, /dev/stdout."""
    for _ in range(MOST_LINKS):
        folder = Path(os.path.realpath(path.parent))
        # an open file's number: of a shell's "> file" it names that file, and still is none itself
        if folder == Path("/dev/fd") or (folder.name == "fd" and folder.is_relative_to("/proc")):
            return True
        if not path.is_symlink():
            break
        path = folder / os.readlink(path)
    return path.exists() and not path.is_file() and not path.is_dir()


def write_into(path: Path, data: bytes) -> None:
    """Write all of `data` into what is there."""
    with open(path, "ab" if path.is_file() else "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]


@contextlib.contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """A neighbour of `out`, of the same ending, to write into, which takes the place of `out` once
    all of it is there.

    Raises:
        OSError: nothing was changed at `out`; the neighbour is removed, as after any other error.
    """
    part = out.with_name(f".{out.stem}.{os.getpid()}.tmp{out.suffix}")
    try:
        yield part
        os.replace(part, out)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A neighbour of `out` to write into, which becomes `out` once all of it is there.

    Args:
        out: new, or an empty folder. Where no other can take its place, as of a disk mounted there,
            the neighbour lies in it.

    Raises:
        OSError: nothing was changed at `out`; the neighbour is removed, as after any other error.
    """
    stays = out.is_dir() and (os.path.ismount(out) or not os.access(out.parent, os.W_OK))
    if not stays:
        out.parent.mkdir(parents=True, exist_ok=True)
    part = (out if stays else out.parent) / f".{out.name}-{secrets.token_hex(4)}"
    try:
        part.mkdir()  # who may read and write it is the user's umask to say
        yield part
        if stays:
            for made in sorted(part.iterdir()):
                os.replace(made, out / made.name)
            part.rmdir()
        else:
            if out.exists():
                out.rmdir()
            os.replace(part, out)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        _name_as(out, part, error)
        raise


def _name_as(out: Path, part: Path, error: BaseException) -> None:
    """People know nothing of `part`: a file in it is named as it would have been called."""
    for name, kind in (("filename", str), ("path", Path)):
        named = getattr(error, name, None)
        if isinstance(named, str | Path) and Path(named).is_relative_to(part):
            setattr(error, name, kind(out / Path(named).relative_to(part)))


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names, so that a rename survives a power cut.

    Where a folder cannot be flushed nothing is done: the file itself is there.
    """
    if os.name != "posix":  # folders cannot be opened elsewhere, and renames are journalled
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # may be written, but not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_FLUSHED:
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that killed writers left in `folder`; those of living ones stay."""
    import psutil  # here: the command line starts without it

    for leftover in folder.glob(".*.tmp"):
        writer = leftover.name.split(".")[-2]
        if writer.isdecimal() and int(writer) != os.getpid() and psutil.pid_exists(int(writer)):
            continue
        with contextlib.suppress(OSError):
            leftover.unlink()


def append_bytes(path: Path, data: bytes) -> int:
    """Append in one system call.

    Returns:
        bytes written; fewer than `len(data)` when the disk filled up on the way.

    Raises:
        OSError: nothing was written; names the file.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        return os.write(descriptor, data)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
