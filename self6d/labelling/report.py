"""The report beside exported labels: what was taken, what was left out, pictures of the weakest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import cv2
import numpy as np

from self6d.datasets import Recording
from self6d.datasets.base import FrameKey
from self6d.datasets.pose_track import PoseTrack, TrackedPose
from self6d.evaluation.figures import PALETTE, jpeg
from self6d.evaluation.html import html_image, html_page
from self6d.labelling.masks import DrawnLabel, draw_labels
from self6d.rendering import PackedModels
from self6d.scene import ObjectModel

PICTURES = 12
_MARGIN = 0.6  # of the object's side, around it


@dataclass
class LabelReport:
    """What became of a track's poses.

    Attributes:
        track: file name of the track. confidence: the threshold.
        frames: of the recording.
        accepted: poses that are labels now. unsure: poses below the threshold. lost: objects of
            frames without a pose.
        partly: frames with labels in which another object has none, for it was unsure or lost.
        unseen: labels of which nothing can be seen.
    """

    track: str
    confidence: float
    frames: int
    accepted: list[TrackedPose]
    unsure: int
    lost: int
    partly: list[FrameKey]
    unseen: list[TrackedPose] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, track: PoseTrack, confidence: float, frames: int) -> LabelReport:
        """Before anything is drawn. `track` holds the recording's frames alone."""
        accepted = list(track.above(confidence))
        taken = {t.key for t in accepted}
        rest = [t for t in track if t.pose is None or t.confidence < confidence]
        return cls(
            track=name,
            confidence=confidence,
            frames=frames,
            accepted=accepted,
            unsure=sum(t.pose is not None for t in rest),
            lost=sum(t.pose is None for t in rest),
            partly=sorted({t.key for t in rest} & taken),
        )

    def lines(self) -> list[str]:
        """What there is to say, in sentences."""
        labelled = len({t.key for t in self.accepted})
        said = [
            f"{len(self.accepted)} labels in {labelled} of {self.frames} frames: the poses of "
            f"{self.track} with a confidence of {self.confidence:g} or more. They are estimates of "
            "a tracker, not ground truth.",
            f"Left out: {self.unsure} poses below that confidence, {self.lost} objects lost.",
        ]
        if self.partly:
            said.append(
                f"{len(self.partly)} of the frames show an object that carries no label, for its "
                "pose was unsure or lost: a detector would learn that nothing is there."
            )
        if self.unseen:
            said.append(f"{len(self.unseen)} labels are of objects of which nothing can be seen.")
        return said

    def table(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "source": "track",
            "track": self.track,
            "confidence": self.confidence,
            "frames": self.frames,
            "labelled_frames": len({t.key for t in self.accepted}),
            "labels": len(self.accepted),
            "unsure": self.unsure,
            "lost": self.lost,
            "partly_labelled_frames": [[k.scene_id, k.image_id] for k in self.partly],
            "unseen_labels": len(self.unseen),
        }


def report_page(
    report: LabelReport, dataset: Recording, models: Sequence[ObjectModel], packed: PackedModels
) -> str:
    """HTML with the counts by object and the least sure of the accepted poses drawn in."""
    names = {m.object_id: m.name for m in models}
    count = Counter(t.object_id for t in report.accepted)
    least = {i: min(t.confidence for t in report.accepted if t.object_id == i) for i in count}
    rows = "".join(
        f"<tr><td>{object_id}</td><td>{escape(names[object_id])}</td><td>{count[object_id]}</td>"
        f"<td>{least[object_id]:.2f}</td></tr>"
        for object_id in sorted(count)
    )
    weakest = sorted(report.accepted, key=lambda t: t.confidence)[:PICTURES]
    place = {key: i for i, key in enumerate(dataset.keys)}
    shown = [_figure(t, dataset, place[t.key], names, models, packed) for t in weakest]
    parts = [
        "<h1>Labels from a track</h1>",
        *(f"<p>{escape(line)}</p>" for line in report.lines()),
        "<table><thead><tr><th>object</th><th>name</th><th>labels</th><th>least sure</th></tr>"
        f"</thead><tbody>{rows}</tbody></table>",
        f"<h2>The {len(weakest)} least sure</h2>",
        f"<div class='row'>{''.join(shown)}</div>",
    ]
    return html_page("Labels from a track", parts)


def _figure(
    tracked: TrackedPose,
    dataset: Recording,
    index: int,
    names: dict[int, str],
    models: Sequence[ObjectModel],
    packed: PackedModels,
) -> str:
    frame = dataset.frame(index)
    (label,) = draw_labels(frame, [tracked], models, packed)
    key = tracked.key
    text = (
        f"scene {key.scene_id}, image {key.image_id}: {names[tracked.object_id]}, "
        f"{tracked.confidence:.2f}, {tracked.state.value}"
    )
    picture = jpeg(_outlined(frame.rgb, label), width=480)
    return (
        f"<figure>{html_image(picture, text, encoding='jpeg')}"
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )


def _outlined(rgb: np.ndarray, label: DrawnLabel) -> np.ndarray:
    """The object's surroundings with the outline at its pose: (h, w, 3) uint8."""
    picture = rgb.copy()
    lines, _ = cv2.findContours(label.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    colour = tuple(int(PALETTE[0][i : i + 2], 16) for i in (1, 3, 5))
    cv2.drawContours(picture, lines, -1, colour, 1)
    box = label.box
    if box is None:
        return picture
    margin = int(_MARGIN * max(box[2:] - box[:2]))
    h, w = rgb.shape[:2]
    x0, x1 = np.clip((box[0] - margin, box[2] + margin), 0, w)
    y0, y1 = np.clip((box[1] - margin, box[3] + margin), 0, h)
    return picture[y0:y1, x0:x1] if x1 > x0 and y1 > y0 else picture
