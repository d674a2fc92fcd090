"""Pictures of a report: overlays, recall curves, error histograms, training curves."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from self6d.datasets.base import Dataset, FrameKey
from self6d.evaluation.predictions import Prediction
from self6d.evaluation.report import Report
from self6d.evaluation.results import Results
from self6d.rendering import PackedModels, pack_models, render
from self6d.scene import Frame, ObjectModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# told apart by the colour-blind, too (Okabe and Ito)
PALETTE = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]  # name -> steps, values


def overlay(
    frame: Frame,
    poses: Sequence[tuple[int, np.ndarray, np.ndarray]],
    models: PackedModels,
    color: str,
) -> np.ndarray:
    """Silhouettes of posed models, drawn as contours over the frame's colours.

    Args:
        poses: (object id, R (3, 3), t (3,) metres) each. color: "#rrggbb".

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture = (0.75 * frame.rgb).astype(np.uint8, order="C")
    position = {object_id: i for i, object_id in enumerate(models.object_ids)}
    poses = [p for p in poses if p[0] in position]
    if not poses:
        return picture

    def tensor(values: Sequence) -> torch.Tensor:
        return torch.tensor(np.stack(values), dtype=models.dtype, device=models.device)

    covered = render(
        tensor([R for _, R, _ in poses]),
        tensor([t for _, _, t in poses]),
        tensor([frame.camera.K])[0],
        models,
        frame.camera.size,
        object_index=torch.tensor([position[i] for i, _, _ in poses], device=models.device),
        soft_mask=False,
    ).covered
    rgb = tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))
    thickness = max(1, round(frame.camera.width / 400))
    for mask in covered.cpu().numpy().astype(np.uint8):
        lines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, lines, -1, rgb, thickness)
    return picture


def overlay_rows(
    report: Report, dataset: Dataset, models: Sequence[ObjectModel], count: int = 6
) -> list[tuple[str, list[tuple[str, np.ndarray]]]]:
    """For some evaluated frames, spread evenly: its name and (caption, picture) of every run.

    The last picture of a row shows the labels.

    Args:
        report: of `dataset`, restricted to the split that was evaluated.
    """
    packed = pack_models(models)
    wanted = {(i.scene_id, i.image_id) for i in report.results[0].instances}
    indices = [n for n, k in enumerate(dataset.keys) if (k.scene_id, k.image_id) in wanted]
    picked = sorted({indices[i] for i in np.linspace(0, len(indices) - 1, count).astype(int)})
    rows = []
    for index in picked:
        frame, key = dataset.frame(index), dataset.keys[index]
        pictures = []
        for result, color in zip(report.results, _colors(len(report.results)), strict=True):
            best = _best(result.predictions, key)
            poses = [(p.object_id, p.R, p.t) for p in best]
            pictures.append((result.label, overlay(frame, poses, packed, color)))
        truth = [(t.object_id, t.pose.R_m2c, t.pose.t_m2c) for t in dataset.truth(index)]
        pictures.append(("label", overlay(frame, truth, packed, "#ffffff")))
        rows.append((f"scene {key.scene_id}, image {key.image_id}", pictures))
    return rows


def _best(predictions: Sequence[Prediction], key: FrameKey) -> list[Prediction]:
    """The best estimate of every object in an image."""
    best: dict[int, Prediction] = {}
    for p in predictions:
        if (p.scene_id, p.image_id) == (key.scene_id, key.image_id):
            known = best.get(p.object_id)
            if known is None or p.score > known.score:
                best[p.object_id] = p
    return list(best.values())


def _colors(count: int) -> list[str]:
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


def jpeg(picture: np.ndarray, width: int = 640) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG, at most `width` wide."""
    h, w = picture.shape[:2]
    if w > width:
        size = (width, round(h * width / w))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, 88]
    return cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1].tobytes()


def error_figure(results: Sequence[Results]) -> bytes:
    """Recall against ADD(-S) threshold, and histograms of angle and distance; PNG."""
    figure, axes = axes_of(3)
    for result, color in zip(results, _colors(len(results)), strict=True):
        share = np.sort([100 * i.add_share for i in result.instances])
        recall = 100 * np.arange(1, len(share) + 1) / max(len(share), 1)
        axes[0].step(
            np.concatenate(([0], share)), np.concatenate(([0], recall)), where="post", color=color,
            label=result.label,
        )  # fmt: skip
        angle = np.array([i.rotation_deg for i in result.instances])
        distance = np.array([1000 * i.translation_m for i in result.instances])
        for axis, values, limit in ((axes[1], angle, 180.0), (axes[2], distance, 100.0)):
            bins = np.geomspace(0.1, limit, 25)
            inside = np.clip(values[np.isfinite(values)], bins[0], bins[-1])
            axis.hist(inside, bins=bins, histtype="step", color=color, linewidth=1.6)
    axes[0].set(xlim=(0, 30), ylim=(0, 100), xlabel="ADD(-S) threshold, % of the diameter")
    axes[0].set_ylabel("recall, %")
    axes[0].axvline(10, color="0.7", linewidth=0.8, linestyle=":")
    axes[0].legend(frameon=False)
    axes[1].set(xscale="log", xlabel="rotation error, degrees", ylabel="instances")
    axes[2].set(xscale="log", xlabel="translation error, mm", ylabel="instances")
    return as_png(figure)


def curve_figure(curves: Curves) -> bytes | None:
    """Training curves by family (the part of the name before "/"), smoothed; PNG, None if empty."""
    families: dict[str, list[str]] = {}
    for name, (steps, _) in curves.items():
        if len(steps) > 1:
            families.setdefault(name.split("/")[0] if "/" in name else "other", []).append(name)
    if not families:
        return None
    figure, axes = axes_of(len(families))
    for axis, (family, names) in zip(axes, sorted(families.items()), strict=False):
        for name, color in zip(sorted(names), _colors(len(names)), strict=True):
            steps, values = (np.asarray(a, float) for a in curves[name])
            shown, smooth = _smoothed(steps, values)
            axis.plot(shown, smooth, color=color, label=name.removeprefix(f"{family}/"))
        axis.set(title=family, xlabel="step")
        axis.legend(frameon=False, fontsize=7)
    return as_png(figure)


def _smoothed(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over at most 300 equal stretches."""
    known = np.isfinite(values)
    steps, values = steps[known], values[known]
    parts = np.array_split(np.arange(len(steps)), min(300, max(len(steps), 1)))
    parts = [p for p in parts if len(p)]
    return np.array([steps[p].mean() for p in parts]), np.array([values[p].mean() for p in parts])


def axes_of(count: int) -> tuple:
    """A figure of `count` axes, three in a row, four as a square; drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 2 if count == 4 else min(count, 3)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(4.2 * columns, 3.1 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes


def as_png(figure: Figure) -> bytes:
    """The picture's file."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()
