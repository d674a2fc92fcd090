"""A bag of ROS 1 or ROS 2 by topic and number."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from self6d.datasets.readers.bags.storage import McapStorage, Ros1Storage, SqliteStorage, Storage
from self6d.errors import InputError
from self6d.files import read_yaml

BAG_SUFFIXES = (".bag", ".db3", ".mcap")
_MEND = "Copy it again; `rosbag reindex` or `ros2 bag reindex` mends one that was cut off."


@dataclass(frozen=True)
class Topic:
    """A topic of a bag: its message type, such as sensor_msgs/msg/Image, and how many there are."""

    name: str
    kind: str
    count: int


def is_bag(path: Path) -> bool:
    """Whether a path is a bag: a file by its suffix, or rosbag2's folder."""
    return path.suffix.lower() in BAG_SUFFIXES or (path / "metadata.yaml").is_file()


class BagFile:
    """A bag, whose messages are read one by one.

    Attributes:
        path: file or folder.
        topics: by name.
        version: 1 or 2, of ROS.
        files: those that hold the messages.
    """

    def __init__(self, path: Path) -> None:
        """List the messages.

        Raises:
            InputError: rosbags is not installed, or the bag is damaged or of an unknown kind.
        """
        self.path = path
        self._compressed = _settings(path)
        self._index: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        try:
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError:
            raise InputError(
                "is a bag, which is read by the package rosbags",
                path=path,
                remedy='Install it: pip install "self6d-studio[bags]"',
            ) from None
        with _translated(path):
            reader = AnyReader([path], default_typestore=get_typestore(Stores.LATEST))
            reader.open()
            try:
                self.version = 2 if reader.is2 else 1
                self._types = reader.typestore
                self._storages = [_storage(r) for r in _inner(reader.readers[0])]
                self.files = [storage.path for storage in self._storages]
                counts: dict[str, Topic] = {}
                for c in reader.connections:
                    before = counts.get(c.topic)
                    total = c.msgcount + (before.count if before else 0)
                    counts[c.topic] = Topic(c.topic, c.msgtype, total)
                self.topics = counts
            finally:
                reader.close()

    def __reduce__(self) -> tuple:
        return BagFile, (self.path,)

    def of_kind(self, *kinds: str) -> list[Topic]:
        """Topics that hold messages of some types, by name without their package's folder."""
        wanted = {kind.replace("/", "/msg/") for kind in kinds}
        return [t for _, t in sorted(self.topics.items()) if t.kind in wanted and t.count]

    def recorded_at(self, topic: str) -> np.ndarray:
        """When each message of a topic was recorded, (N,) int64, nanoseconds, rising."""
        return self._places(topic)[1][:, 0]

    def stamps(self, topic: str) -> np.ndarray | None:
        """Times in the headers of a topic's messages, (N,) int64, nanoseconds.

        None where reading them would unpack the whole bag, or where they were not set.
        """
        if self._compressed:
            return None
        numbers, rows = self._places(topic)
        times = np.empty(len(rows), np.int64)
        with _translated(self.path):
            for i, (number, row) in enumerate(zip(numbers, rows, strict=True)):
                head = self._storages[number].head(row)
                if len(head) < 12:
                    return None
                if self.version == 1:
                    seconds, rest = struct.unpack_from("<II", head, 4)
                else:
                    seconds, rest = struct.unpack_from("<iI" if head[1] & 1 else ">iI", head, 4)
                times[i] = seconds * 1_000_000_000 + rest
        return times if len(times) and (times > 0).all() else None

    def message(self, topic: str, number: int) -> Any:
        """A message, with its type's fields as attributes.

        Raises:
            InputError: it cannot be read.
        """
        numbers, rows = self._places(topic)
        with _translated(self.path, f"message {number} of {topic}"):
            data = self._storages[numbers[number]].data(rows[number])
            if self._compressed:
                from rosbags.rosbag2.reader import zstd

                data = zstd.decompress(data)
            kind = self.topics[topic].kind
            if self.version == 1:
                return self._types.deserialize_ros1(data, kind)
            return self._types.deserialize_cdr(data, kind)

    def _places(self, topic: str) -> tuple[np.ndarray, np.ndarray]:
        """Number of the storage (N,), and row of its index (N, 3)."""
        if topic not in self._index:
            with _translated(self.path):
                parts = [storage.index(topic) for storage in self._storages]
            numbers = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
            rows = np.concatenate(parts)
            order = rows[:, 0].argsort(kind="stable")
            self._index[topic] = numbers[order], rows[order]
        return self._index[topic]


def _settings(path: Path) -> bool:
    """Whether the messages of rosbag2's folder are compressed one by one."""
    file = path / "metadata.yaml"
    if not file.is_file():
        return False
    table = read_yaml(file, "bag's metadata").get("rosbag2_bagfile_information")
    mode = str(table.get("compression_mode") or "") if isinstance(table, dict) else ""
    if mode.lower() == "file":
        raise InputError(
            "holds files that are compressed as a whole, in which nothing can be read at random",
            path=path,
            remedy="Unpack them: `ros2 bag convert`, or `zstd -d` and `ros2 bag reindex`.",
        )
    return mode.lower() == "message"


def _inner(reader: Any) -> list[Any]:
    """rosbags' readers of single files."""
    storage = getattr(reader, "storage", None)
    if storage is None:
        return [reader]
    return list(getattr(storage, "storages", [storage]))


def _storage(reader: Any) -> Storage:
    suffix = Path(reader.path).suffix.lower()
    if suffix == ".mcap":
        return McapStorage(Path(reader.path), reader)
    if suffix == ".db3":
        return SqliteStorage(Path(reader.path))
    return Ros1Storage(Path(reader.path), reader)


@contextmanager
def _translated(path: Path, what: str = "bag") -> Iterator[None]:
    try:
        yield
    except (InputError, MemoryError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # rosbags' parsers fail in many ways on damaged bytes
        text = " ".join(str(error).split())[:150] or type(error).__name__
        raise InputError(f"{what} cannot be read ({text})", path=path, remedy=_MEND) from None
