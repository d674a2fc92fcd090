"""Fig. 3: L_self optimised on single images from stage 1's poses; loss and errors fall together."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch

from self6d.datasets import Recording, open_dataset
from self6d.datasets.splits import default_split, some_frames
from self6d.errors import InputError
from self6d.events import Progress
from self6d.experiments.common import Setting, new_figure, png
from self6d.jobs.absent import leave_out_of_preset
from self6d.jobs.prepare import changes_of, resolve_device
from self6d.losses.objective import SelfSupervision
from self6d.refinement.config import OptimizeConfig
from self6d.refinement.optimizer import optimise_poses
from self6d.refinement.refine import problem_of_detections
from self6d.refinement.task import pose_errors
from self6d.rendering import PackedModels, pack_models
from self6d.run_config import build_config
from self6d.runs.load_network import TrainedNetwork, load_network
from self6d.scene import Frame, alike_frames
from self6d.scene.batch import FrameBatch

IMAGES_AT_ONCE = 8  # optimised together; a stop waits for them
CURVES = ("loss/total", "error/rotation_deg", "error/translation_mm")
LABELS = ("L_self / its start", "rotation error, degrees", "translation error, mm")


def run(setting: Setting, split: str | None = None, images: int = 100) -> str:
    """See `self6d.experiments.run`. Each image's curves are kept as soon as they are known."""
    device = resolve_device(setting.device)
    changes = changes_of(setting.overrides, {"optimize.steps": setting.steps})
    config = build_config(setting.preset, changes, stage=2)
    remark = leave_out_of_preset(config, setting.preset, changes, setting.listener)
    dataset = open_dataset(setting.data)
    frames = some_frames(dataset, default_split(dataset, split, "eval"))
    frames = some_frames(frames, None, min(1.0, images / len(frames)))
    unit = config.models.unit
    trained = load_network(setting.from_run, device=device, models=setting.models, unit=unit)
    objective = SelfSupervision(config.loss, device)
    packed = pack_models(trained.models, device)
    files = [f"images/{key.scene_id:06d}_{key.image_id:06d}.json" for key in frames.keys]
    missing = [i for i, file in enumerate(files) if not (setting.out / file).is_file()]
    began, done = time.monotonic(), 0
    for group in alike_frames((frames.frame(i) for i in missing), IMAGES_AT_ONCE):
        setting.check_stop()
        batch = dict(zip(missing[done : done + len(group)], group, strict=True))
        detections = _optimise(frames, batch, trained, packed, objective, config.optimize)
        (setting.out / "images").mkdir(exist_ok=True)
        for index, curves in detections.items():
            setting.write(files[index], json.dumps(curves))
        done += len(group)
        if setting.listener is not None:
            there = len(frames) - len(missing) + done
            left = (time.monotonic() - began) / done * (len(missing) - done)
            setting.listener(Progress(there, len(frames), left, "fig3"))
    rows = [row for file in files for row in json.loads((setting.out / file).read_text())]
    if not rows:
        raise InputError(
            "no labelled object was found by the network",
            path=setting.data,
            remedy="Name a labelled split with --split, or train stage 1 longer.",
        )
    return _finish(setting, rows, remark)


def _optimise(
    frames: Recording,
    batch: dict[int, Frame],
    trained: TrainedNetwork,
    packed: PackedModels,
    objective: SelfSupervision,
    config: OptimizeConfig,
) -> dict[int, list[dict[str, Any]]]:
    """Curves of every detection whose object has a label in its frame, by frame."""
    chosen = list(batch)
    labels = {i: {t.object_id: t for t in frames.truth(i)} for i in chosen}
    sensor = FrameBatch.of(list(batch.values()), packed.device)
    detections = trained.network.predict(sensor.images, sensor.K)
    image_of = [chosen[i] for i in detections.image_index.tolist()]
    object_of = [trained.models[i] for i in detections.object_index.tolist()]
    known = [
        row
        for row, (image, model) in enumerate(zip(image_of, object_of, strict=True))
        if model.object_id in labels[image]
    ]
    rows: dict[int, list[dict[str, Any]]] = {i: [] for i in chosen}
    if not known:
        return rows
    detections = detections[torch.tensor(known, device=packed.device)]
    way = optimise_poses(problem_of_detections(sensor, detections, packed, objective, config))
    for column, row in enumerate(known):
        image, model = image_of[row], object_of[row]
        angle, distance = pose_errors(
            way.R[:, column], way.t[:, column], labels[image][model.object_id], model
        )
        terms = {f"loss/{name}": values[:, column].tolist() for name, values in way.terms.items()}
        rows[image].append(
            {
                "image_id": batch[image].image_id,
                "object_id": model.object_id,
                "error/rotation_deg": angle.tolist(),
                "error/translation_mm": distance.tolist(),
                **terms,
            }
        )
    return rows


def _finish(setting: Setting, rows: list[dict[str, Any]], remark: str) -> str:
    """Medians and quartiles over all objects, step by step."""
    quartiles = {}
    for name in CURVES:
        values = np.array([row[name] for row in rows])
        if name == "loss/total":
            values = values / values[:, :1]
        quartiles[name] = np.percentile(values, [25, 50, 75], axis=0)
    figure, axes = new_figure(len(CURVES))
    for axis, name, label in zip(axes, CURVES, LABELS, strict=True):
        low, middle, high = quartiles[name]
        axis.fill_between(np.arange(len(middle)), low, high, alpha=0.25, linewidth=0)
        axis.plot(middle)
        axis.set_xlabel("step")
        axis.set_title(label, fontsize=10)
        axis.set_ylim(bottom=0)
    lines = [f"{len(rows)} objects in {len({row['image_id'] for row in rows})} images (medians)"]
    for name, label in zip(CURVES, LABELS, strict=True):
        middle = quartiles[name][1]
        lines.append(f"{label:<24} {middle[0]:8.3f} -> {middle[-1]:8.3f}")
    text = "\n".join([*lines, remark]).rstrip() + "\n"
    record = {name: q.tolist() for name, q in quartiles.items()}
    setting.write("fig3.json", json.dumps({"quartiles": record, "objects": rows, "remark": remark}))
    setting.write("fig3.txt", text)
    setting.write("fig3.png", png(figure))
    return text
