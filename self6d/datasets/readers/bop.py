"""BOP layout: ROOT/SPLIT/SCENE/{rgb|gray, depth, scene_camera.json, scene_gt.json, ...}.

Source: https://github.com/thodan/bop_toolkit/blob/master/docs/bop_datasets_format.md
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from self6d.datasets.base import FrameKey, Targets
from self6d.datasets.images import read_mask, size_of_rgb
from self6d.datasets.labels import box_from_bop, pose_from_bop
from self6d.datasets.paper_splits import paper_splits
from self6d.datasets.readers.bop_scene import (
    SPLITS,
    Scene,
    open_scene,
    scene_groups,
    scene_levels,
    sensors_of,
)
from self6d.datasets.readers.cropped import CroppedRecording
from self6d.datasets.recording import (
    FrameSource,
    Recording,
    Truth,
    meshes_in,
    pinhole_mask,
    plain_name,
    splits_file,
)
from self6d.errors import InputError
from self6d.events import counted
from self6d.files import note, read_json
from self6d.scene import GroundTruth

MODELS = ("models", "models_eval")
_LABEL_SCENES = 4  # scenes whose parsed labels stay in memory


class BopRecording(Recording):
    """A BOP dataset, one of its splits, or one scene."""

    kind = "bop"

    def __init__(self, root: Path, scenes: list[Scene], **options: Any) -> None:
        self._scenes = {scene.scene_id: scene for scene in scenes}
        self._labels: OrderedDict[tuple[int, str], dict] = OrderedDict()
        self._folders: dict[str, Path] = options.pop("folders", {})
        self._sensors: tuple[str, ...] = options.pop("sensors", ())
        self.target_files: dict[str, Path] = {}
        keys = [FrameKey(s.scene_id, i) for s in scenes for i in s.image_ids]
        super().__init__(root, keys, **options)

    @classmethod
    def open(cls, path: Path, *, reason: str = "", sensor: str = "") -> Self:
        """List the frames of a BOP folder.

        Args:
            sensor: of a set with several cameras in each scene; by default its first with colour
                and depth. The others are splits.

        Raises:
            InputError: no scene in it, several datasets, or a scene without images or camera.
        """
        groups = scene_groups(path)
        if not groups:
            raise InputError(
                "holds no BOP scene",
                path=path,
                remedy="A scene folder has a number as its name and a scene_camera.json in it.",
            )
        if len(sets := _datasets(path, groups)) > 1:
            named = ", ".join(sets[:4]) + (", ..." if len(sets) > 4 else "")
            raise InputError(
                f"is no recording, but holds {len(sets)} BOP datasets, each with objects of its "
                f"own: {named}",
                path=path,
                remedy=f"Name one of them, such as {path / sets[0]}.",
            )
        chosen = min(groups, key=_preference)
        sensors = (
            []
            if (groups[chosen][0] / "scene_camera.json").is_file()
            else sensors_of(groups[chosen][0])
        )
        if sensors and not sensor:
            sensor = sensors[0]
            others = ", ".join(sensors[1:]) or "none"
            reason = f"{reason}; frames of camera '{sensor}' (also there, as splits: {others})"
        elif sensor and sensor not in sensors:
            raise InputError(
                f"has no camera '{sensor}'", path=path, remedy=f"Its cameras: {sensors}."
            )
        scenes = sorted((open_scene(f, sensor) for f in groups[chosen]), key=lambda s: s.scene_id)
        if len(groups) > 1:
            others = ", ".join(sorted(g for g in groups if g != chosen))
            reason = f"{reason}; frames of '{chosen}' (also there, as splits: {others})"
        levels = [*scene_levels(scenes[0].folder), path]
        recording = cls(
            path,
            scenes,
            reason=reason,
            models_path=_folder_of(levels, MODELS) or meshes_in(path),
            folders={name: path / name for name in groups if name != chosen},
            sensors=tuple(s for s in sensors if s != sensor),
        )
        recording.models_eval_path = _folder_of(levels, ("models_eval",))
        for folder in dict.fromkeys(f.absolute() for f in reversed(levels)):  # outer ones win
            found = paper_splits(folder, recording.keys, recording.models_path)
            files = target_files(folder)
            found |= {name: target_keys(file) for name, file in files.items()}
            stated = splits_file(folder, recording.keys)
            known = recording._splits.keys() | stated.keys()
            recording.target_files |= {n: f for n, f in files.items() if n not in known}
            recording._splits = found | stated | recording._splits
        return recording

    @property
    def bop_name(self) -> str:
        levels = scene_levels(next(iter(self._scenes.values())).folder)
        name = plain_name(levels[-1].name)
        kind, _, part = levels[1].name.partition("_") if len(levels) == 3 else ("test", "", "")
        return f"{name}-{kind}" + (f"-{plain_name(part)}" if part else "")

    def split_names(self) -> tuple[str, ...]:
        return tuple(sorted({*self._splits, *self._folders, *self._sensors}))

    def split(self, name: str) -> Recording:
        if name.startswith("lmcrop11-") and name in self._splits:
            return CroppedRecording(super().split(name), reason=f"split '{name}'")
        if name in self._folders and name not in self._splits:
            return type(self).open(self._folders[name], reason=f"folder '{name}' of {self.root}")
        if name in self._sensors and name not in self._splits:
            why = f"camera '{name}' of {self.root}"
            return type(self).open(self.root, reason=why, sensor=name)
        part = super().split(name)
        if name in self.target_files:
            part.targets = target_counts(self.target_files[name])
        return part

    def scene_part(self, scene_id: int, name: str) -> Path:
        """A file or folder of a scene by its plain name, such as mask_visib."""
        return self._scenes[scene_id].part(name)

    def source(self, key: FrameKey) -> FrameSource:
        scene = self._scenes[key.scene_id]
        return FrameSource(
            f"{scene.folder.name}/{key.image_id:06d}",
            scene.rgb_path(key.image_id),
            scene.depth_path(key.image_id),
            scene.metres_per_unit(key.image_id),
            scene.intrinsics(key.image_id),
        )

    def _truth(self, key: FrameKey) -> Truth:
        return self._instances(key, "scene_gt.json")

    def upper_bound(self, index: int) -> Truth:
        key = self.keys[index]
        held_back = self._instances(key, "scene_gt_upper_bound_only.json")
        return held_back or self._truth(key)

    def camera_entry(self, key: FrameKey) -> dict[str, Any]:
        """A frame's entry of scene_camera.json, or one that says as much of its camera."""
        there = self._table(key.scene_id, "scene_camera.json").get(str(key.image_id))
        if there is not None:
            return there
        source = self.source(key)
        stated = source.intrinsics
        entry: dict[str, Any] = {
            "cam_K": [float(v) for v in stated.K.reshape(-1)],
            "depth_scale": source.metres_per_unit * 1000,
        }
        if stated.width is not None and stated.height is not None:
            entry |= {"width": stated.width, "height": stated.height}
        return entry

    def label_entries(
        self, key: FrameKey, file_name: str = "scene_gt.json"
    ) -> tuple[list[dict], list[dict]]:
        """A frame's entries of scene_gt.json and scene_gt_info.json, as they stand there.

        Raises:
            InputError: they are not lists.
        """
        image = str(key.image_id)
        entries = self._table(key.scene_id, file_name).get(image, [])
        infos = self._table(key.scene_id, "scene_gt_info.json").get(image, [])
        if not isinstance(entries, list) or not isinstance(infos, list):
            raise InputError(
                f"labels of image {image} are not a list",
                path=self.scene_part(key.scene_id, file_name),
                remedy="Write one list a frame, as BOP does.",
            )
        return entries, infos

    def _instances(self, key: FrameKey, file_name: str) -> Truth:
        entries, infos = self.label_entries(key, file_name)
        scene = self._scenes[key.scene_id]
        camera = None
        truths = []
        if infos and entries and len(infos) != len(entries):
            said = f"describes {len(infos)} objects of image {key.image_id}, which has labels of"
            path = scene.part("scene_gt_info.json")
            note(path, f"{said} {len(entries)}; boxes and visible shares are left out there")
        for number, entry in enumerate(entries):
            object_id, pose = pose_from_bop(entry, scene.part(file_name), str(key.image_id))
            info = infos[number] if len(infos) == len(entries) else {}
            fraction, box = box_from_bop(info, scene.part("scene_gt_info.json"))
            mask_path = scene.part("mask_visib") / f"{key.image_id:06d}_{number:06d}.png"
            mask = None
            if mask_path.is_file():
                source = self.source(key)
                if camera is None:
                    h, w = size_of_rgb(source.rgb)
                    camera = source.intrinsics.camera(w, h, checked=self.checked)
                mask = pinhole_mask(source.intrinsics, camera, read_mask(mask_path, camera.size))
            truths.append(GroundTruth(object_id, pose, fraction, mask, box))
        return tuple(truths)

    def _table(self, scene_id: int, file_name: str) -> dict:
        address = (scene_id, file_name)
        if address not in self._labels:
            path = self._scenes[scene_id].part(file_name)
            table = read_json(path, "label file") if path.is_file() else {}
            plain = {str(int(k)) if k.isdecimal() else k: table[k] for k in table}  # "000012" is 12
            self._labels[address] = plain
            while len(self._labels) > 3 * _LABEL_SCENES:
                self._labels.popitem(last=False)
        self._labels.move_to_end(address)
        return self._labels[address]


def recognise(path: Path) -> str:
    """Why `path` is of this layout, or ""."""
    count = sum(len(scenes) for scenes in scene_groups(path).values())
    folders = counted(count, "folder", "folders")
    return f"{folders} with scene_camera.json: BOP layout" if count else ""


def _datasets(path: Path, groups: Iterable[str]) -> list[str]:
    """Folders of `path` that are datasets by themselves, with models or named splits of their own.

    Splits that share the models of `path` are of one dataset.
    """
    parts = sorted({tuple(group.split("/")) for group in groups})
    parts = [part for part in parts if not part[0].startswith(SPLITS)]
    own = {p[0] for p in parts if _folder_of([path / p[0]], MODELS)}
    if _folder_of([path], MODELS):
        return sorted(own)
    return sorted(own | {p[0] for p in parts if len(p) > 1 and p[1].startswith(SPLITS)})


def _preference(group: str) -> tuple[int, str]:
    order = ("test", "val", "train_real", "train")
    place = next((i for i, name in enumerate(order) if group.startswith(name)), len(order))
    return place, group


def _folder_of(levels: Iterable[Path], names: Sequence[str]) -> Path | None:
    found = (f / name for f in levels for name in names)
    return next((folder for folder in found if folder.is_dir()), None)


@dataclass(frozen=True)
class BopTarget:
    """One line of a BOP targets file: how many instances of an object count in an image.

    Attributes:
        object_id: None where the file names images alone, as those of detection do.
    """

    scene_id: int
    image_id: int
    object_id: int | None
    instances: int


def read_targets(path: str | Path) -> list[BopTarget]:
    """A BOP targets file, such as test_targets_bop19.json."""
    targets = []
    for entry in read_json(path, "targets file", list):
        try:
            targets.append(
                BopTarget(
                    int(entry["scene_id"]),
                    int(entry["im_id"]),
                    int(entry["obj_id"]) if "obj_id" in entry else None,
                    int(entry.get("inst_count", 1)),
                )
            )
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise InputError(
                f"targets file holds a line that is no target: {str(entry)[:60]}",
                path=path,
                remedy='Each must be {"scene_id": 1, "im_id": 2, "obj_id": 3, "inst_count": 1}.',
            ) from None
    return targets


def target_files(folder: Path) -> dict[str, Path]:
    """Targets files of a folder by the split each makes: test_targets_bop19.json -> "bop19"."""
    paths = sorted(folder.glob("*targets*.json"))
    return {re.sub(r"^test_targets_", "", path.stem): path for path in paths}


def target_keys(path: Path) -> list[FrameKey]:
    """The images a targets file names, in order."""
    return sorted({FrameKey(t.scene_id, t.image_id) for t in read_targets(path)})


def target_counts(path: Path) -> Targets | None:
    """How many instances of which object count in which image; None where all do."""
    counts: dict[FrameKey, dict[int, int]] = {}
    for target in read_targets(path):
        if target.object_id is None:
            return None
        key = FrameKey(target.scene_id, target.image_id)
        counts.setdefault(key, {})[target.object_id] = target.instances
    return counts
