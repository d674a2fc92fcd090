"""What experiments share: their inputs, their folder, figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from self6d.errors import INTERRUPTED, InputError, Self6DError
from self6d.events import Listener
from self6d.files import check_free
from self6d.jobs.prepare import Changes
from self6d.runs.control import Control
from self6d.runs.load_network import Paths
from self6d.storage import atomic_write


class Interrupted(Self6DError):
    """Stopped on request before the end; the same command goes on from there."""

    exit_code = INTERRUPTED


def interrupted(out: Path | None = None) -> Interrupted:
    """That an experiment was stopped; `out` keeps what it had."""
    return Interrupted("stopped", path=out, remedy="The same command goes on from here.")


@dataclass
class Setting:
    """Inputs of an experiment; see `self6d.experiments.run`."""

    name: str
    data: Path
    models: Paths | None
    from_run: Path
    out: Path
    preset: str | Path
    steps: int | None
    seed: int
    device: str
    overrides: Changes
    listener: Listener | None
    control: Control

    def prepare(self, options: dict[str, Any]) -> None:
        """Make the folder, or check that it is this experiment's.

        Raises:
            InputError: it holds something else, or the same experiment with other settings.
        """
        record = {
            "experiment": self.name,
            "data": str(self.data.absolute()),
            "from_run": str(self.from_run.absolute()),
            "preset": str(self.preset),
            "steps": self.steps,
            "seed": self.seed,
            "overrides": self.overrides or [],
            **options,
        }
        file = self.out / "experiment.json"
        if file.is_file():
            if json.loads(file.read_text()) != json.loads(json.dumps(record)):
                raise InputError(
                    "holds an experiment with other settings",
                    path=self.out,
                    remedy="Name another folder, or repeat its settings to go on.",
                )
            return
        check_free(self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        atomic_write(file, json.dumps(record, indent=1).encode())

    def check_stop(self) -> None:
        """Raise `Interrupted` if a stop was asked for; wait while paused."""
        while self.control.paused and not self.control.stopping:
            self.control.wait(0.2)
        if self.control.stopping:
            raise interrupted(self.out)

    def write(self, name: str, content: str | bytes) -> None:
        """A result file in the experiment's folder."""
        data = content.encode() if isinstance(content, str) else content
        atomic_write(self.out / name, data)


def new_figure(columns: int) -> tuple[Any, Any]:
    """A figure with a row of axes that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * columns, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Any) -> bytes:
    """A figure as PNG."""
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
