"""The process behind the live page: a network on a source, told on standard output.

A message is the length of its JSON (4 bytes, little-endian), that JSON, the length of a JPEG and
that JPEG, of length 0 where there is none. The JSON is a row of `self6d.live.View.row`, or
{"note": text}, or {"error": text}. The process ends when its standard input does, and completes
what it records.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

PICTURES_A_SECOND = 25.0  # more than are shown would only fill the pipe
WIDEST = 960  # pixels of a picture sent
LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Message:
    """What one message says; jpeg is empty where it brings no picture."""

    said: dict[str, Any]
    jpeg: bytes


def packed(said: dict[str, Any], jpeg: bytes = b"") -> bytes:
    """A message as bytes."""
    text = json.dumps(said).encode()
    return LENGTH.pack(len(text)) + text + LENGTH.pack(len(jpeg)) + jpeg


class Unpacker:
    """Messages out of bytes that come in pieces."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __call__(self, more: bytes) -> Iterator[Message]:
        """The messages that are whole by now."""
        self._bytes += more
        while True:
            text, at = self._part(0)
            jpeg, end = self._part(at) if text is not None else (None, 0)
            if text is None or jpeg is None:
                return
            del self._bytes[:end]
            yield Message(json.loads(text), jpeg)

    def _part(self, start: int) -> tuple[bytes | None, int]:
        """A part, and where the next begins; None if it is not all there."""
        begin = start + LENGTH.size
        if len(self._bytes) < begin:
            return None, start
        end = begin + LENGTH.unpack_from(self._bytes, start)[0]
        return (None, start) if len(self._bytes) < end else (bytes(self._bytes[begin:end]), end)


def main(asked: dict[str, Any], out: BinaryIO, until: threading.Event) -> int:
    """Look until the source ends or `until` is set.

    Args:
        asked: arguments of `self6d.live.live` by name.
    """
    from self6d import live
    from self6d.errors import Self6DError
    from self6d.events import Note

    def send(said: dict[str, Any], jpeg: bytes = b"") -> None:
        out.write(packed(said, jpeg))
        out.flush()

    def listener(event: object) -> None:
        if isinstance(event, Note):
            send({"note": event.text})

    sent = 0.0
    try:
        views = live.live(**asked, listener=listener)
        for view in views:
            if until.is_set():
                views.close()  # type: ignore[attr-defined]
                break
            jpeg, now = b"", time.monotonic()
            if now - sent >= 1 / PICTURES_A_SECOND:
                jpeg, sent = _jpeg(view.picture()), now
            send(view.row(), jpeg)
    except Self6DError as error:
        send({"error": str(error)})
        return 1
    except BrokenPipeError:  # the window is gone
        return 1
    return 0


def _jpeg(picture: Any) -> bytes:
    """An (H, W, 3) uint8 RGB picture, no wider than is shown."""
    import cv2

    height, width = picture.shape[:2]
    if width > WIDEST:
        picture = cv2.resize(picture, (WIDEST, round(height * WIDEST / width)))
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return bytes(coded)


def _wait(ended: threading.Event) -> None:
    """Until standard input ends."""
    # not through sys.stdin: to hold its lock as the interpreter ends is fatal
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    ended = threading.Event()
    threading.Thread(target=_wait, args=(ended,), daemon=True).start()
    sys.exit(main(json.loads(sys.argv[1]), sys.stdout.buffer, ended))
