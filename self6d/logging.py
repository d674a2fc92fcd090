"""The program's own log: rotating files in the user's state folder, for bug reports."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import platform
import sys
from pathlib import Path

import self6d
from self6d.paths import user_state

LOGGER = logging.getLogger("self6d")
_MAX_BYTES = 1_000_000
_FILES = 5


def log_folder() -> Path:
    """Where log files lie, newest `self6d.log`."""
    return user_state() / "logs"


def start_logging(command: list[str]) -> Path | None:
    """Write this process's log to disk, at most 5 MB in all; warnings also go to standard error.

    Returns:
        the file, or None where it cannot be written (then only standard error is used).
    """
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.propagate = False
    shown = logging.StreamHandler()
    shown.setLevel(logging.WARNING)
    shown.setFormatter(_OneLine())
    LOGGER.addHandler(shown)
    file: Path | None = None
    with contextlib.suppress(OSError):
        log_folder().mkdir(parents=True, exist_ok=True)
        file = log_folder() / "self6d.log"
        written = logging.handlers.RotatingFileHandler(
            file, maxBytes=_MAX_BYTES, backupCount=_FILES - 1, encoding="utf-8"
        )
        written.setFormatter(
            logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
        )
        LOGGER.addHandler(written)
    LOGGER.info(
        "self6d-studio %s, Python %s, %s: %s",
        self6d.__version__,
        platform.python_version(),
        platform.platform(),
        " ".join(command),
    )
    return file


class _OneLine(logging.Formatter):
    """What a person reads: `note: text`, without a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        level = "note" if record.levelno == logging.WARNING else record.levelname.lower()
        return f"{level}: {record.getMessage()}"


def log_crash(error: BaseException) -> None:
    """Put an unexpected exception with its traceback into the log file only."""
    for handler in LOGGER.handlers:
        if isinstance(handler, logging.FileHandler):
            record = LOGGER.makeRecord(
                LOGGER.name,
                logging.CRITICAL,
                "",
                0,
                "unexpected %s",
                (type(error).__name__,),
                (type(error), error, error.__traceback__),
            )
            handler.emit(record)


def argv() -> list[str]:
    return ["self6d-studio", *sys.argv[1:]]
