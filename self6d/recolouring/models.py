"""The colours of a recording fused onto CAD models whose poses in it are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from self6d.datasets import UnlabelledFrames
from self6d.datasets.pose_track import TrackedPose
from self6d.errors import InputError
from self6d.events import Listener, Note, Progress
from self6d.geometry import Pose
from self6d.recolouring.fill import Filling, filled, to_lab
from self6d.recolouring.finer import finer, longest_edge
from self6d.recolouring.fuse import HIGHEST_GAIN, LOWEST_GAIN, FuseOptions, VertexColors
from self6d.recolouring.looks import depth_of, look
from self6d.rendering import pack_models
from self6d.scene import Frame, ObjectModel
from self6d.scene.formats.gltf import to_srgb

_STEP = 0.03  # diameters, change of depth between pixels that is a step


@dataclass(frozen=True, eq=False)
class RecolouredModel:
    """A model with the recording's colours, and how many of them are.

    Attributes:
        model: the new model; the given one where nothing of it was seen.
        frames: with a pose that was used. gave: of them, those that gave colours.
        refused: frames left out whose colours disagree with the others'.
        before: vertices of the given model. seen: of the new one's, those coloured from the
            recording.
        filling: how the others got their colours. residual: see `Filled`.
        moved: median change of the seen vertices' colours in LAB; NaN where the CAD had none.
        gains: smallest and largest gain that evened out the frames' exposure.
        edge_m: longest edge, metres. wanted_m: the edge asked for.
    """

    model: ObjectModel
    frames: int
    gave: int
    before: int
    seen: int
    refused: int = 0
    filling: Filling = "none"
    residual: float = float("nan")
    moved: float = float("nan")
    gains: tuple[float, float] = (1.0, 1.0)
    edge_m: float = 0.0
    wanted_m: float = 0.0

    @property
    def vertices(self) -> int:
        """Of the new model."""
        return len(self.model.vertices)

    @property
    def unseen(self) -> int:
        """Vertices whose colour is not the recording's."""
        return self.vertices - self.seen

    def line(self) -> str:
        """What became of it, in one line."""
        name = f"object {self.model.object_id} ({self.model.name})"
        if not self.frames:
            return f"{name}: no pose is sure enough, its colours are left as they were"
        if not self.seen:
            return (
                f"{name}: none of its {self.vertices} vertices is seen clearly in "
                f"{self.frames} frames, its colours are left as they were"
            )
        share = 100 * self.seen / self.vertices
        said = (
            f"{name}: {self.seen} of {self.vertices} vertices ({share:.0f} %) took their colour "
            f"from {self.gave} of {self.frames} frames"
        )
        if self.refused:
            said += f" ({self.refused} left out: their colours disagree with the others')"
        if self.filling == "changed":
            said += (
                f"; the other {self.unseen} keep the CAD's, changed as the seen ones were "
                f"(which leaves {self.residual:.1f} in LAB)"
            )
        elif self.filling == "diffused":
            said += f"; the other {self.unseen} were filled in from their neighbours"
        if self.gains[0] < 1.001 * LOWEST_GAIN or self.gains[1] > 0.999 * HIGHEST_GAIN:
            said += "; brightness differs more than threefold between frames, evened out up to that"
        if self.vertices > self.before:
            said += f"; split from {self.before} vertices, edges up to {1000 * self.edge_m:.1f} mm"
        if self.edge_m > 1.01 * self.wanted_m:
            said += f" ({1000 * self.wanted_m:.1f} mm would take too many faces)"
        return said

    def row(self) -> dict[str, Any]:
        """The same for programs."""
        numbers = {k: v for k, v in self.__dict__.items() if k not in ("model", "gains")}
        told = {k: None if v != v else v for k, v in numbers.items()}
        own = {"object": self.model.object_id, "name": self.model.name}
        return own | told | {"vertices": self.vertices, "gains": list(self.gains)}


@dataclass(frozen=True)
class RecolourReport:
    """All objects, and how their colours were taken."""

    objects: tuple[RecolouredModel, ...]
    options: FuseOptions

    @property
    def models(self) -> list[ObjectModel]:
        """The new models."""
        return [found.model for found in self.objects]

    def lines(self) -> list[str]:
        """One for each object."""
        return [found.line() for found in self.objects]

    def table(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "objects": [found.row() for found in self.objects],
            "options": asdict(self.options),
        }


def recolour_models(
    frames: UnlabelledFrames,
    poses: Sequence[TrackedPose],
    models: Sequence[ObjectModel],
    *,
    doubtful: Sequence[TrackedPose] = (),
    options: FuseOptions | None = None,
    device: torch.device | str = "cpu",
    listener: Listener | None = None,
) -> RecolourReport:
    """Fuse the colours of frames onto models.

    Every vertex takes the robust mean of its clearest looks (`robust_mean`), weighted by cosine
    and resolution, in linear light; vertices with fewer than `options.frames` looks are filled, see
    `filled`. Meshes are split first where their edges are too long to carry an image's colours.

    Args:
        frames: the recording, without labels.
        poses: those whose colours are taken, each with a pose, of objects among `models`.
        doubtful: poses that give no colour but may hide what does.
        options: see there.

    Raises:
        InputError: no pose, or no vertex of any object is seen.
    """
    if not poses:
        raise InputError("there is no pose to take colours at", remedy="Give a surer track.")
    options = options or FuseOptions()
    job = _Fusing(frames, poses, models, doubtful, options, device)
    for step, index in enumerate(job.chosen):
        job.take(index, frames.read(index))
        if listener is not None:
            listener(Progress(step + 1, len(job.chosen), None, "recolour"))
    report = RecolourReport(tuple(job.result(i) for i in range(len(models))), options)
    if not any(found.seen for found in report.objects):
        raise InputError(
            f"no vertex of any object is seen clearly in {len(job.chosen)} frames",
            remedy="Check that poses, recording and models belong together (a still picture of the "
            "poses over the images shows it).",
        )
    if listener is not None:
        for found in report.objects:
            if found.seen and found.model.symmetric:
                text = (
                    f"object {found.model.object_id} is symmetric: colours that break its symmetry "
                    "are averaged unless its poses tell the sides apart"
                )
                listener(Note("info", text))
    return report


class _Fusing:
    """One call of `recolour_models`."""

    def __init__(
        self,
        frames: UnlabelledFrames,
        poses: Sequence[TrackedPose],
        models: Sequence[ObjectModel],
        doubtful: Sequence[TrackedPose],
        options: FuseOptions,
        device: torch.device | str,
    ) -> None:
        self.options, self.models = options, list(models)
        self.place = {model.object_id: i for i, model in enumerate(models)}
        number = {key: i for i, key in enumerate(frames.keys)}
        self.used: dict[int, list[tuple[int, Pose]]] = {}
        self.others: dict[int, list[tuple[int, Pose]]] = {}
        for table, given in ((self.used, poses), (self.others, doubtful)):
            for t in given:
                if t.pose is not None and t.object_id in self.place:
                    table.setdefault(number[t.key], []).append((self.place[t.object_id], t.pose))
        self.chosen = sorted(self.used)
        self.packed = pack_models(models, device)
        K = frames.read(self.chosen[0], depth=False).camera.K
        focal = float(np.sqrt(K[0, 0] * K[1, 1]))
        self.wanted = [self._edge(i, focal) for i in range(len(models))]
        self.fine = [
            self.models[i] if edge is None else finer(self.models[i], edge, options.most_faces)
            for i, edge in enumerate(self.wanted)
        ]
        whole = pack_models(self.fine)
        parts = np.split(whole.normals.double().numpy(), np.cumsum(whole.vertex_counts)[:-1])
        turned = [_outwards(model, part) for model, part in zip(self.fine, parts, strict=True)]
        self.normals, self.closed = [n for n, _ in turned], [closed for _, closed in turned]
        self.colors = [VertexColors(len(model.vertices), options) for model in self.fine]
        self.frames, self.gave = [0] * len(models), [0] * len(models)

    def _edge(self, index: int, focal: float) -> float | None:
        """Longest edge wanted of an object, metres; None where no pose of it is used."""
        away = [
            float(pose.transform(self.models[index].vertices.mean(0)[None])[0, 2])
            for placed in self.used.values()
            for i, pose in placed
            if i == index
        ]
        if not away:
            return None
        pixel = max(float(np.quantile(away, 0.25)), 0.0) / focal
        return max(self.options.edge * self.models[index].diameter, self.options.pixels * pixel)

    def take(self, index: int, frame: Frame) -> None:
        """The colours of one frame."""
        placed = self.used[index]
        drawn = depth_of(frame, [*placed, *self.others.get(index, [])], self.packed)
        for row, (i, pose) in enumerate(placed):
            others = [depth for other, depth in enumerate(drawn) if other != row]
            model = self.fine[i]
            found = look(
                frame, pose, model.vertices.astype(np.float64), self.normals[i], drawn[row],
                np.minimum.reduce(others) if others else None, _STEP * model.diameter,
                self.options, two_sided=not self.closed[i],
            )  # fmt: skip
            self.frames[i] += 1
            self.gave[i] += bool(len(found.vertex))
            self.colors[i].add(found.vertex, found.color, found.weight)

    def result(self, index: int) -> RecolouredModel:
        """What came of an object."""
        given, model, count = self.models[index], self.fine[index], self.frames[index]
        kept = RecolouredModel(given, count, 0, len(given.vertices), 0)
        wanted = self.wanted[index]
        if wanted is None:
            return kept
        fused = self.colors[index].fused(min(self.options.frames, count))
        seen, gain = fused.seen, fused.gain
        if not len(seen):
            return kept
        color = to_srgb(fused.color.clip(0, 1)).astype(np.float32)
        whole = filled(model.colors, model.has_color, seen, color, model.vertices, model.faces)
        moved = float("nan")
        if model.has_color:
            change = to_lab(color) - to_lab(model.colors[seen])
            moved = float(np.median(np.linalg.norm(change, axis=1)))
        return replace(
            kept,
            model=replace(model, colors=whole.color, has_color=True),
            gave=self.gave[index] - fused.refused,
            refused=fused.refused,
            seen=len(seen),
            filling=whole.filling,
            residual=whole.residual,
            moved=moved,
            gains=(float(gain.min()), float(gain.max())),
            edge_m=longest_edge(model),
            wanted_m=wanted,
        )


def _outwards(model: ObjectModel, normals: np.ndarray) -> tuple[np.ndarray, bool]:
    """Normals turned outwards, and whether there is an outside: a flat sheet has two sides."""
    corners = model.vertices[model.faces].astype(np.float64) - model.vertices.mean(0)
    volume = float((corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() / 6)
    if abs(volume) < 1e-4 * model.diameter**3:
        return normals, False
    return (normals if volume > 0 else -normals), True
