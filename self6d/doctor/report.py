"""What the doctor says: plain data, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from self6d.scene.mesh import ObjectModel

Severity = Literal["error", "warning", "info"]
LEFT_OUT = "; a corrected copy leaves the frames out."
"""How a remedy ends where that is another way out."""
_ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing about a recording or a model.

    Attributes:
        code: short name of the kind, such as "depth-scale".
        severity: "error": it cannot be used so; "warning": results will suffer; "info".
        what: the fault, one line.
        path: file or folder concerned.
        remedy: what to do, one line.
        correction: values a corrected copy would use; empty where only the user can mend it.
    """

    code: str
    severity: Severity
    what: str
    path: str = ""
    remedy: str = ""
    correction: dict[str, Any] = field(default_factory=dict)

    @property
    def fixable(self) -> bool:
        """Whether a corrected copy can be written."""
        return bool(self.correction)


def _together(found: list[Finding]) -> Finding:
    """One finding for several that say the same of different files."""
    if len(found) == 1:
        return found[0]
    correction: dict[str, Any] = {}
    for finding in found:
        skip = [*correction.get("skip", []), *finding.correction.get("skip", [])]
        correction |= finding.correction | ({"skip": skip} if skip else {})
    return replace(found[0], what=f"{len(found)} times: {found[0].what}", correction=correction)


@dataclass
class DoctorReport:
    """What a recording is and what is wrong with it.

    Attributes:
        path: what was examined.
        kind: reader's name; "" if no reader could open it.
        reason: why that reader.
        frames: number of frames.
        splits: name -> number of frames.
        image_size: (height, width), pixels; None if no frame could be read.
        camera: fx, fy, cx, cy of the first frame, pixel centres at whole numbers.
        depth: "valid" share of pixels, "median_m", "near_m", "far_m"; empty without depth.
        models: one table an object.
        models_path: where they lie, if in one place.
        objects: the models themselves, in metres.
        unit: of their files, as it was named, else "auto".
        findings: gravest first.
        unchecked: what was not looked at, one line each.
        no_copy: why no corrected copy is made although some findings could be corrected, or "".
    """

    path: Path
    kind: str = ""
    reason: str = ""
    frames: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None
    camera: dict[str, float] = field(default_factory=dict)
    depth: dict[str, float] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    models_path: Path | None = None
    objects: tuple[ObjectModel, ...] = ()
    unit: str = "auto"
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    no_copy: str = ""

    @property
    def ok(self) -> bool:
        """No error among the findings."""
        return all(f.severity != "error" for f in self.findings)

    @property
    def fixable(self) -> bool:
        """Whether a corrected copy would differ."""
        return any(f.fixable for f in self.findings)

    def give_up_copy(self, why: str) -> None:
        """Nothing is fixable: a corrected copy would not be worth the name."""
        self.no_copy = why
        self.findings = [
            replace(f, correction={}, remedy=f.remedy.replace(LEFT_OUT, ".")) for f in self.findings
        ]

    def sort(self) -> None:
        """Each finding once, with its count; gravest first, else in the order they were met."""
        same: dict[tuple[str, str, str], list[Finding]] = {}
        for finding in self.findings:
            same.setdefault((finding.code, finding.severity, finding.what), []).append(finding)
        self.findings = [_together(found) for found in same.values()]
        self.findings.sort(key=lambda f: _ORDER[f.severity])

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        table = asdict(replace(self, objects=()))
        del table["objects"]
        table["path"] = str(self.path)
        table["models_path"] = None if self.models_path is None else str(self.models_path)
        table["ok"] = self.ok
        for row, finding in zip(table["findings"], self.findings, strict=True):
            row["fixable"] = finding.fixable
        return table

    def text(self) -> str:
        """For a terminal."""
        lines = [str(self.path)]
        if self.kind:
            lines += [f"  {line}" for line in self._summary()]
        for finding in self.findings:
            place = f"{finding.path}: " if finding.path not in ("", str(self.path)) else ""
            lines.append(f"  {finding.severity:<7} {finding.code}: {place}{finding.what}")
            if finding.remedy:
                lines.append(f"          {finding.remedy}")
        count = sum(f.severity != "info" for f in self.findings)
        fixable = sum(f.fixable for f in self.findings)
        if not count:
            lines.append("  nothing wrong was found in what was checked")
        elif fixable:
            lines.append(f"  {count} finding(s); --fix DIR writes a copy with {fixable} corrected")
        else:
            why = f"; --fix has nothing to write: {self.no_copy}" if self.no_copy else ""
            lines.append(f"  {count} finding(s){why}")
        lines += [f"  not checked: {text}" for text in self.unchecked]
        return "\n".join(lines)

    def _summary(self) -> list[str]:
        lines = [f"{self.kind}: {self.reason}"]
        size = "" if self.image_size is None else f", {self.image_size[1]}x{self.image_size[0]}"
        splits = ", ".join(f"{name} ({n})" for name, n in self.splits.items())
        lines.append(f"{self.frames} frame(s){size}" + (f"; splits: {splits}" if splits else ""))
        if self.camera:
            lines.append("camera: " + ", ".join(f"{k} {v:.2f}" for k, v in self.camera.items()))
        if self.depth:
            lines.append(
                f"depth: {100 * self.depth['valid']:.0f} % valid, {self.depth['near_m']:.2f} to "
                f"{self.depth['far_m']:.2f} m, median {self.depth['median_m']:.2f} m"
            )
        for model in self.models:
            traits = [f"{1000 * model['diameter_m']:.1f} mm", f"{model['faces']} faces"]
            traits.append(model["color"])
            if model["symmetry"]:
                traits.append(f"symmetric ({model['symmetry']})")
            lines.append(f"model {model['object_id']} {model['name']}: {', '.join(traits)}")
        return lines
