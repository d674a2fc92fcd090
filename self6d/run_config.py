"""The whole configuration of a run, one section a room."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from self6d.config import Stage, from_dict, load_preset, merge, overrides
from self6d.config_fields import Checked
from self6d.engine.loop import LoopConfig
from self6d.engine.schedule import TrainConfig
from self6d.losses.objective import LossConfig
from self6d.network import NetworkConfig
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.rgb.config import RefinerConfig
from self6d.stage2.config import AdaptConfig
from self6d.synthesis import SynthesisConfig
from self6d.tracking.config import TrackConfig


@dataclass
class ModelsConfig(Checked, section="models"):
    """How CAD files are read."""

    unit: Literal["auto", "m", "cm", "mm", "inch"] = "auto"
    """Unit that the CAD files were modelled in; "auto" takes what models_info.json states, else
    what gives a plausible size, and says so. A run's own copy is in millimetres."""


@dataclass
class RunConfig:
    """Everything that a run can be told."""

    models: ModelsConfig = field(default_factory=ModelsConfig)
    """The CAD files."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The pose network."""
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    """Synthetic images."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Stage 1."""
    loss: LossConfig = field(default_factory=LossConfig)
    """L_self."""
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    """Stage 2."""
    optimize: OptimizeConfig = field(default_factory=OptimizeConfig)
    """Single image."""
    track: TrackConfig = field(default_factory=TrackConfig)
    """Tracking."""
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    """RGB refiner."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Curves, previews, checkpoints."""


def build_config(
    preset: str | Path | None,
    changes: dict[str, Any] | list[str] | None = None,
    base: dict[str, Any] | None = None,
    *,
    stage: Stage | None = None,
) -> RunConfig:
    """A configuration from a base (such as an earlier run's), a preset and changes, in this order.

    Args:
        preset: name or .toml file; None: none.
        changes: {"loss.mask": 0}, or ["loss.mask=0", ...] as `--set` gives them.
        stage: what the preset must be for, see `load_preset`.

    Raises:
        InputError: unknown preset or key, wrong value, preset of another stage.
    """
    layers = [base or {}, load_preset(preset, stage) if preset is not None else {}]
    return from_dict(RunConfig, merge(*layers, overrides(changes or [])))
