"""A screen of its own with a window manager, the studio on it, and hands that move its mouse.

Mouse and keys are X events of xdotool: they go through the X server and the window manager, as a
user's do. The studio runs as a process with a home folder that was empty before; what it shows is
read through `eyes`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageGrab
from warm_processes import Warm

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("Xvfb", "openbox", "xdotool")
SIZE = (1280, 800)
WAIT_S = 180.0  # a busy machine
# Windows fill the screen without a frame, dialogs have one. Nothing else of openbox is used.
OPENBOX = """<?xml version="1.0"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <applications>
    <application type="normal"><decor>no</decor><maximized>yes</maximized></application>
  </applications>
</openbox_config>
"""


def missing() -> list[str]:
    """Programs that are not installed here."""
    return [name for name in NEEDED if shutil.which(name) is None]


class Studio:
    """One `self6d-studio launch`, from an empty home to its end.

    Args:
        home: an empty folder; settings, sample, runs and logs go there.
        arguments: of `launch`.
        look: "light" or "dark", as the user's settings would have it.
        shots: called with the name of each step as it is done, and a picture of the screen.
        warm: what forks its helpers and jobs; None: it starts them itself.
    """

    def __init__(
        self, home: Path, *arguments: str, look: str = "light",
        shots: Callable[[str, Image.Image], object] | None = None, warm: Warm | None = None,
    ) -> None:  # fmt: skip
        self.home, self.shots, self.warm, self.clicks = home, shots, warm, 0
        self._ends = contextlib.ExitStack()
        try:
            self._start(arguments, look)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._ends.close()

    # what a user does

    def click(self, text: str) -> None:
        """Wait for the button that says this, and click it."""
        self.click_at(self.wait(f"button({text!r})"))

    def click_at(self, at: list[int]) -> None:
        self.clicks += 1
        self._xdotool("mousemove", *map(str, at), "click", "1")

    def click_widget(self, widget: str) -> None:
        """Click what an expression names, turning the wheel until it is in sight."""
        for _ in range(60):
            if self.see(f"{widget} is not None and place({widget})"):
                break
            at = self.see(f"{widget} is not None and scroller({widget})")
            if at:
                self._xdotool("mousemove", *map(str, at), "click", "5")
            time.sleep(0.1)
        self.click_at(self.wait(f"place({widget})"))

    def fill(self, caption: str, text: str) -> None:
        """Click the box behind a caption and replace what it holds."""
        self.click_at(self.wait(f"beside({caption!r})"))
        self.key("ctrl+a")
        self.type(text)

    def type(self, text: str) -> None:
        self._xdotool("type", "--delay", "4", text)

    def key(self, *names: str) -> None:
        self._xdotool("key", "--delay", "20", *names)

    def choose_file(self, title: str, path: Path) -> None:
        """Name a file or folder in the file dialog that has come up."""
        self.wait(f"dialog() == {title!r}")
        self.wait("QApplication.activeWindow() is QApplication.activeModalWidget()")
        self.key("ctrl+a")
        self.type(f"{path}")
        self.key("Return")
        self.wait("dialog() == ''")

    def rest(self) -> None:
        """Move the mouse where it points at nothing."""
        self._xdotool("mousemove", str(SIZE[0] // 2), "2")

    def shoot(self, name: str) -> None:
        """Take a picture of the screen, where pictures are wanted."""
        if self.shots is not None:
            self.rest()
            time.sleep(1.0)  # a tool tip goes, a fade ends
            self.shots(name, ImageGrab.grab(xdisplay=self.display))

    # what a user sees

    def see(self, expression: str) -> Any:
        """The value of an expression in the window, by the names in `eyes`."""
        self._socket.sendall(" ".join(expression.split()).encode() + b"\n")
        line = self._lines.readline()
        if not line:
            raise AssertionError(f"the studio has ended:\n{self.log.read_text()[-2000:]}")
        answer = json.loads(line)
        if "wrong" in answer:
            raise AssertionError(f"{expression}: {answer['wrong']}")
        return answer["seen"]

    def wait(self, expression: str, seconds: float = WAIT_S) -> Any:
        """Wait until an expression is true; its value."""
        end = time.monotonic() + seconds
        while not (seen := self.see(expression)):
            if time.monotonic() > end:
                if self.shots is not None:
                    self.shots("waited-in-vain", ImageGrab.grab(xdisplay=self.display))
                bar = self.see("window() and window().job_bar.text.text()")
                raise AssertionError(f"waited in vain for {expression}; the bar says: {bar}")
            time.sleep(0.05)
        return seen

    def _start(self, arguments: tuple[str, ...], look: str) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        number, write = os.pipe()
        size = f"{SIZE[0]}x{SIZE[1]}x24"
        self._run(["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp"],
                  os.environ, pass_fds=[write])  # fmt: skip
        os.close(write)
        with os.fdopen(number) as told:
            self.display = f":{told.readline().strip()}"
        names = [name for name in os.environ if not name.startswith(("XDG_", "SELF6D_"))]
        kept = {name: os.environ[name] for name in names}
        self._environment = {
            **kept, "DISPLAY": self.display, "HOME": str(self.home), "PYTHONPATH": str(ROOT),
            "SELF6D_STUDIO_CONFIG": str(self.home / "studio.ini"),
        }  # fmt: skip
        if look != "light":
            (self.home / "studio.ini").write_text(f"[General]\ntheme={look}\n")
        rules = self.home / ".openbox.xml"
        rules.write_text(OPENBOX)
        self._run(["openbox", "--config-file", str(rules)], self._environment)
        self._socket, there = socket.socketpair()
        self._ends.callback(self._socket.close)
        self._lines = self._socket.makefile("rb")
        self.log = self.home / "studio.log"
        given = {"EYES": there.fileno()}
        if self.warm is not None:
            given["WARM"] = self.warm.fileno()
        with self.log.open("wb") as log:
            self.process = self._run(
                [sys.executable, str(ROOT / "tests" / "helpers" / "eyes.py"), "launch", *arguments],
                {**self._environment, **{name: str(number) for name, number in given.items()}},
                pass_fds=list(given.values()), stdout=log, stderr=log,
            )  # fmt: skip
        there.close()
        self.wait("window() is not None and window().built")
        self.wait("QApplication.activeWindow() is window()")

    def _run(self, command: list[str], environment: Any, **how: Any) -> subprocess.Popen:
        """Start a program that ends, with all it has started, when this studio does."""
        how = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **how}
        process = subprocess.Popen(command, env=dict(environment), start_new_session=True, **how)

        def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

        self._ends.callback(end)
        return process

    def _xdotool(self, *arguments: str) -> None:
        done = subprocess.run(["xdotool", *arguments], env=self._environment, capture_output=True,
                              text=True, check=False)  # fmt: skip
        assert done.returncode == 0, f"xdotool {arguments}: {done.stderr}"
