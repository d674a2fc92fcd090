"""What `quick` writes down in its folder: what it was asked for, its plan, what took how long."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from self6d.errors import from_os_error
from self6d.files import OR_RESUME, check_free, is_free, read_json
from self6d.jobs.kept import refuse
from self6d.laptop.plan import Part
from self6d.storage import atomic_write

FILE = "quick.json"
OF_COMMAND = {
    "data": "recording", "split": "--split", "object": "--object", "seed": "--seed",
    "cuts": "--cut", "colours": "--colours", "from_run": "--from",
}  # fmt: skip


class QuickRecord:
    """The folder of one `quick`, made or taken up again, and its file.

    Args:
        out: the folder. asked: what the command asks for, of `OF_COMMAND`; a folder that was begun
            otherwise is refused. resume: take up what is in the folder.

    Attributes:
        told: what the file holds: "asked", "plan" (rows of `Part`), "minutes" it was made for
            (None: any), "seconds" by part.

    Raises:
        InputError: the folder is not free, or was begun otherwise. StorageError: cannot be written.
    """

    def __init__(self, out: Path, asked: dict[str, Any], *, resume: bool) -> None:
        self.out = out
        try:
            if not resume:
                check_free(out, OR_RESUME)
            if not is_free(out):
                self.told = read_json(out / FILE, "quick's own file", dict)
                begun = {"cuts": [], "colours": asked["colours"]} | self.told.get("asked", {})
                for name, value in asked.items():
                    if begun.get(name) != value:
                        refuse(out, OF_COMMAND[name], begun.get(name))
                return
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os_error(error, out) from error
        self.told = {"quick": 1, "asked": asked, "plan": [], "seconds": {}}
        self.keep()

    def keep(self) -> None:
        """Write what is known so far."""
        text = json.dumps(self.told, indent=1) + "\n"
        try:
            atomic_write(self.out / FILE, text.encode())
        except OSError as error:
            raise from_os_error(error, self.out) from error

    def plan(self, parts: Sequence[Part]) -> None:
        """This is done, or what is left of it."""
        self.told["plan"] = [part.to_dict() for part in parts]
        self.keep()

    def add_seconds(self, name: str, seconds: float) -> None:
        """A part has taken so much longer."""
        spent = self.told["seconds"]
        spent[name] = round(spent.get(name, 0.0) + seconds, 1)
        self.keep()

    def withdraw(self) -> None:
        """Leave the folder free for the corrected command where no part was begun."""
        if [path.name for path in self.out.iterdir()] == [FILE]:
            (self.out / FILE).unlink()
