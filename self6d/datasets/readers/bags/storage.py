"""Messages of a bag at random: where each lies is listed once, and one is read when asked for.

rosbags reads connections and message definitions and decodes messages; its readers give messages
in order only, so the places of messages are kept here. Formats:
http://wiki.ros.org/Bags/Format/2.0, https://mcap.dev/spec, rosbag2's table `messages`.
"""

from __future__ import annotations

import io
import os
import sqlite3
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np

_HEAD = 16  # bytes of a message that hold its header's time
_CHUNKS_KEPT = 4


class Storage:
    """One file of a bag.

    `index` gives where messages of a topic lie, (N, 3) int64: the time of recording in nanoseconds
    and two numbers that mean something to `data` alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._process = 0
        self._handle: Any = None
        self._chunks: OrderedDict[int, bytes] = OrderedDict()

    def index(self, topic: str) -> np.ndarray:
        """Where a topic's messages lie, in order of time."""
        raise NotImplementedError

    def data(self, row: np.ndarray) -> bytes:
        """A message as it is stored."""
        with self._lock:
            return self._data(*(int(v) for v in row[1:]))

    def head(self, row: np.ndarray) -> bytes:
        """The first bytes of a message; none where a whole chunk would have to be unpacked."""
        with self._lock:
            return self._head(*(int(v) for v in row[1:]))

    def _data(self, a: int, b: int) -> bytes:
        raise NotImplementedError

    def _head(self, a: int, b: int) -> bytes:
        raise NotImplementedError

    def _open(self) -> Any:
        return open(self.path, "rb")

    @property
    def file(self) -> Any:
        if self._handle is None or self._process != os.getpid():  # a fork shares the file's place
            self._handle, self._process = self._open(), os.getpid()
        return self._handle

    def _chunk(self, key: int, unpack: Callable[[], bytes]) -> bytes:
        if key not in self._chunks:
            self._chunks[key] = unpack()
            while len(self._chunks) > _CHUNKS_KEPT:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(key)
        return self._chunks[key]


class Ros1Storage(Storage):
    """A .bag file of version 2."""

    def __init__(self, path: Path, reader: Any) -> None:
        """Take the index of an open `rosbags.rosbag1.Reader`."""
        super().__init__(path)
        from rosbags.rosbag1.reader import decompressors

        self._plain = decompressors["none"]
        self._places = dict(reader.chunks)
        rows: dict[str, list] = {}
        for connection in reader.connections:
            rows.setdefault(connection.topic, []).extend(
                (e.time, e.chunk_pos, e.offset) for e in reader.indexes[connection.id]
            )
        self._index = {topic: _sorted(found) for topic, found in rows.items()}

    def index(self, topic: str) -> np.ndarray:
        return self._index.get(topic, _sorted([]))

    def _data(self, a: int, b: int) -> bytes:
        source, size = self._at(a, b)
        return _exactly(source, size)

    def _head(self, a: int, b: int) -> bytes:
        if self._places[a].decompressor is not self._plain:
            return b""
        source, size = self._at(a, b)
        return source.read(min(size, _HEAD))

    def _at(self, chunk: int, offset: int) -> tuple[BinaryIO, int]:
        """A stream that stands at a message's data, and their length."""
        from rosbags.rosbag1.reader import Header, RecordType

        place = self._places[chunk]
        if place.decompressor is self._plain:
            source = self.file
            source.seek(place.datapos + offset)
        else:
            source = io.BytesIO(self._chunk(chunk, lambda: self._unpack(place)))
            source.seek(offset)
        while True:
            kind = Header.read(source).get_uint8("op")
            (size,) = struct.unpack("<I", _exactly(source, 4))
            if kind == RecordType.MSGDATA:
                return source, size
            source.seek(size, os.SEEK_CUR)

    def _unpack(self, place: Any) -> bytes:
        self.file.seek(place.datapos)
        return place.decompressor(_exactly(self.file, place.datasize))


class SqliteStorage(Storage):
    """A .db3 file of rosbag2."""

    def _open(self) -> sqlite3.Connection:
        place = f"file:{quote(str(self.path.absolute()))}?mode=ro&immutable=1"
        return sqlite3.connect(place, uri=True, check_same_thread=False)

    def index(self, topic: str) -> np.ndarray:
        query = (
            "SELECT timestamp, messages.id, 0 FROM messages JOIN topics "
            "ON topic_id = topics.id WHERE name = ?"
        )
        with self._lock:
            return _sorted(self.file.execute(query, (topic,)).fetchall())

    def _data(self, a: int, b: int) -> bytes:
        return self.file.execute("SELECT data FROM messages WHERE id = ?", (a,)).fetchone()[0]

    def _head(self, a: int, b: int) -> bytes:
        query = f"SELECT substr(data, 1, {_HEAD}) FROM messages WHERE id = ?"
        return self.file.execute(query, (a,)).fetchone()[0]


class McapStorage(Storage):
    """A .mcap file, its records walked once; one without an index or an end is read too."""

    def __init__(self, path: Path, reader: Any) -> None:
        """Take the channels of an open rosbags reader of the file."""
        super().__init__(path)
        topics = {connection.id: connection.topic for connection in reader.connections}
        self._packed: dict[int, tuple[str, int, int]] = {}  # chunk -> compression, data, length
        rows: dict[str, list] = {}
        for channel, row in self._walk():
            if channel in topics:
                rows.setdefault(topics[channel], []).append(row)
        self._index = {topic: _sorted(found) for topic, found in rows.items()}

    def index(self, topic: str) -> np.ndarray:
        return self._index.get(topic, _sorted([]))

    def _walk(self) -> list[tuple[int, tuple[int, int, int]]]:
        """Channel and (time, chunk or -1, offset of the record) of every message."""
        file = self.file
        size = os.fstat(file.fileno()).st_size
        found: list[tuple[int, tuple[int, int, int]]] = []
        chunk, listed, place = -1, True, 8
        while place + 9 <= size:
            file.seek(place)
            kind, length = struct.unpack("<BQ", file.read(9))
            start, place = place, place + 9 + length
            if place > size or kind == 0x0F:  # cut off, or the end of the data
                break
            if kind != 0x07 and not listed:
                found += self._inside(chunk)
                listed = True
            if kind == 0x05:
                channel, _, time = struct.unpack("<HIQ", file.read(14))
                found.append((channel, (time, -1, start)))
            elif kind == 0x06:
                chunk, listed = start, False
                file.read(28)
                (words,) = struct.unpack("<I", file.read(4))
                name = file.read(words).decode()
                (held,) = struct.unpack("<Q", file.read(8))
                self._packed[chunk] = (name, file.tell(), held)
            elif kind == 0x07:
                channel, count = struct.unpack("<HI", file.read(6))
                pairs = np.frombuffer(_exactly(file, count), "<u8").reshape(-1, 2).tolist()
                found += [(channel, (time, chunk, offset)) for time, offset in pairs]
                listed = True
        if not listed:
            found += self._inside(chunk)
        return found

    def _inside(self, chunk: int) -> list[tuple[int, tuple[int, int, int]]]:
        """Messages of a chunk that has no index."""
        data, place, found = self._unpacked(chunk), 0, []
        while place + 9 <= len(data):
            kind, length = struct.unpack_from("<BQ", data, place)
            if kind == 0x05:
                channel, _, time = struct.unpack_from("<HIQ", data, place + 9)
                found.append((channel, (time, chunk, place)))
            place += 9 + length
        return found

    def _data(self, a: int, b: int) -> bytes:
        if a >= 0 and self._packed[a][0]:
            data = self._unpacked(a)
            (length,) = struct.unpack_from("<Q", data, b + 1)
            return data[b + 31 : b + 9 + length]
        file = self.file
        file.seek(b + 1 if a < 0 else self._packed[a][1] + b + 1)
        (length,) = struct.unpack("<Q", _exactly(file, 8))
        file.seek(22, os.SEEK_CUR)
        return _exactly(file, length - 22)

    def _head(self, a: int, b: int) -> bytes:
        if a >= 0 and self._packed[a][0]:
            return b""
        self.file.seek((b if a < 0 else self._packed[a][1] + b) + 31)
        return self.file.read(_HEAD)

    def _unpacked(self, chunk: int) -> bytes:
        from rosbags.rosbag2.storage_mcap import DECOMPRESSORS

        name, start, length = self._packed[chunk]

        def unpack() -> bytes:
            self.file.seek(start)
            return DECOMPRESSORS[name](_exactly(self.file, length), 0)

        return self._chunk(chunk, unpack)


def _sorted(rows: list) -> np.ndarray:
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return table[table[:, 0].argsort(kind="stable")]


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise EOFError(f"{len(data)} of {size} bytes are there")
    return data
