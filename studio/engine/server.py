"""The helper process: answers one request at a time. Started by `studio.engine.client`."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, BinaryIO

from self6d.errors import Self6DError
from studio.engine.wire import read_message, write_message

WITHOUT_TORCH = {
    "recognise", "open_recording", "frame", "thumbnails", "bag_topics", "choose_topics",
    "load_models", "history", "read_track", "changed_on_disk",
}  # fmt: skip
"""Requests that can be answered before torch has loaded, which takes seconds."""


def describe_error(error: BaseException) -> dict[str, Any]:
    """An exception as plain data: the one line, the remedy, and the trace for Copy details."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, Self6DError):
        path = str(error.path) if error.path else None
        return {
            "type": type(error).__name__, "what": error.what, "path": path,
            "remedy": error.remedy, "trace": trace,
        }  # fmt: skip
    return {
        "type": type(error).__name__, "what": str(error) or type(error).__name__, "path": None,
        "remedy": "This is a defect of the program: please report it with the details.",
        "trace": trace,
    }  # fmt: skip


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer (number, method, args, kwargs) with (number, status, value) until the window goes."""
    from studio.engine.desk import Desk

    desk = Desk(lambda value: write_message(answers, (number, "partial", value)))
    while True:
        try:
            number, method, args, kwargs = read_message(requests)
        except EOFError:
            return
        try:
            if method not in WITHOUT_TORCH:
                desk.load_torch()
            answer = (number, "done", getattr(desk, method)(*args, **kwargs))
        except Exception as error:
            answer = (number, "failed", describe_error(error))
        try:
            write_message(answers, answer)
        except BrokenPipeError:
            return


def main() -> None:
    """Talk over standard input and output; whatever a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if hasattr(os, "nice"):
        os.nice(2)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
