"""The paper's figures and tables, on any recording: JSON, a table and a picture each, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from self6d.events import Listener
from self6d.experiments.common import Setting
from self6d.runs.control import Control
from self6d.runs.load_network import Paths

OWN_PRESET = {"fig3": "self6d-paper", "ablation": "self6d-paper"}
NAMES = ("fig3", "ablation", "data-share", "bounds")


def run(
    name: str,
    data: str | Path,
    models: Paths | None,
    from_run: str | Path,
    out: str | Path,
    *,
    preset: str | Path | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    overrides: dict[str, Any] | list[str] | None = None,
    listener: Listener | None = None,
    control: Control | None = None,
    **options: Any,
) -> str:
    """Run an experiment, or go on with one that was interrupted in `out`.

    Args:
        name: one of `NAMES`.
        data: recording with labels to evaluate on. models: CAD files; None: the run's own.
        from_run: stage-1 run to start from. out: folder of results.
        preset, steps, overrides: of stage 2. Preset None: `self6d`; where the experiment is the
            paper's own, `self6d-paper`. options: of the experiment: "images" and "split"
            (fig3), "shares" (data-share).

    Returns:
        the table as text.

    Raises:
        InputError: `out` holds something else, or the data cannot be used.
        Self6DError: as the jobs raise them.
    """
    from self6d.experiments import fig3, sweeps

    setting = Setting(
        name,
        Path(data),
        models,
        Path(from_run),
        Path(out),
        preset=preset or OWN_PRESET.get(name, "self6d"),
        steps=steps,
        seed=seed,
        device=device,
        overrides=overrides,
        listener=listener,
        control=control or Control(patient=False),
    )
    setting.prepare(options)
    runner = {
        "fig3": fig3.run,
        "ablation": sweeps.ablation,
        "data-share": sweeps.data_share,
        "bounds": sweeps.bounds,
    }[name]
    return runner(setting, **options)
