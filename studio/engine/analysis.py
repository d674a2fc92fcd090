"""Configuration forms and network predictions for the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FormField:
    """One line of a settings form; `self6d.config.FieldInfo` with the type as a word."""

    key: str
    kind: str
    optional: bool
    value: Any
    doc: str
    minimum: float | None
    maximum: float | None
    choices: tuple


def describe(kind: str, preset: str | None) -> list[FormField]:
    """Fields that a kind of run reads, with the preset's values."""
    from self6d import config
    from self6d.training.jobs import RunConfig

    data = config.load_preset(preset) if preset else {}
    whole = config.from_dict(RunConfig, data)
    sections = SECTIONS[kind]
    return [
        FormField(
            f.key, f.kind.__name__, f.optional, f.value, f.doc, f.minimum, f.maximum, f.choices
        )
        for f in config.describe(whole)
        if f.key.split(".")[0] in sections
    ]


SECTIONS = {
    "train": ("train", "synthesis", "network", "loop"),
    "adapt": ("loss", "adapt", "loop"),
    "optimize": ("loss", "optimize"),
}
