"""The settings of a run, from a JobSpec into the project's options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.jobs import JobSpec
from studio.jobs.run_info import RunInfo
from studio.model.project import Project
from studio.toolkit.words import unit, word

OF_RECORDING, OF_PRESET = "recording", ""  # else a path: whose camera stage 1 renders for


def load_settings(project: Project, kind: str, spec: JobSpec, text: str) -> None:
    """Take over a run's settings as one edit.

    Args:
        kind: "train" or "adapt". text: what Undo calls it.
    """

    def edit(name: str, value: Any) -> None:
        project.edit_option(f"{kind}:{name}", value, text)

    project.undo.beginMacro(text)
    for name in [k for k in project.options if k.startswith(f"{kind}:")]:
        project.edit_option(name, None, text)
    for name in ("preset", "seed", "device", "steps", "minutes", "split"):
        edit(name, getattr(spec, name))
    edit("from", str(spec.from_run) if spec.from_run else None)
    edit("share", spec.options.get("share"))
    edit("no-check", spec.options.get("no-check"))
    poses = spec.options.get("poses")
    edit("poses", None if poses is None else str(poses))
    if kind == "train":
        camera = spec.options.get("camera")
        here = camera is not None and Path(camera) == project.recording_path
        edit("camera", OF_RECORDING if here else OF_PRESET if camera is None else str(camera))
    for key, value in spec.overrides.items():
        if key != "models.unit":  # the project's, see `differs`
            edit(f"set:{key}", value)
    project.undo.endMacro()


def differs(project: Project, spec: JobSpec) -> str:
    """What a run used that the project does not hold; "" if it is all there."""
    other = []
    if spec.data is not None and spec.data != project.recording_path:
        other.append(f"recording {spec.data}")
    if spec.models and spec.models != tuple(project.model_paths):
        other.append(f"CAD models {', '.join(map(str, spec.models))}")
    unit = spec.overrides.get("models.unit", "auto")
    if unit != project.unit:
        other.append(f"CAD unit {unit}")
    return f"That run used {' and '.join(other)}." if other else ""


def told(info: RunInfo, spec: JobSpec) -> list[tuple[str, str]]:
    """What a run was made with, as names and values; a setting not listed is the preset's."""
    listed: list[tuple[str, object]] = [
        ("What", spec.title),
        ("State", f"{info.status}, step {info.step} of {info.total}"),
        ("Recording", spec.data),
        ("Frames", spec.split or ("the usual" if spec.data else None)),
        ("Start run", spec.from_run),
        ("CAD models", ", ".join(map(str, spec.models)) or None),
        ("Preset", spec.preset),
        ("Seed", info.seed),
        ("Device", spec.device or "auto"),
        ("Steps", spec.steps or "the preset's"),
        ("Minutes", spec.minutes),
        *spec.options.items(),
        *((f"{key} (not the preset's)", value) for key, value in spec.overrides.items()),
        *(_result(key, value) for key, value in info.result.items() if _short(value)),
        ("Command", spec.shell()),
    ]
    return [(name, _text(value)) for name, value in listed if value is not None]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _result(key: str, value: object) -> tuple[str, object]:
    """A result in words, its number in its unit as the curves have it."""
    if isinstance(value, float):
        factor, suffix, digits = unit(key)
        value = f"{factor * value:.{digits}f}{suffix}"
    return f"result: {word(key)}", value


def _short(value: object) -> bool:
    return isinstance(value, str | int | float)


def settings_of(spec: JobSpec) -> JobSpec:
    """A run without what says where it is; equal for runs set up alike."""
    return replace(spec, out=Path(), resume=False, data=None, models=())
