"""What all readers share: addresses, named splits, subsets. A reader adds how one frame is read."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from self6d.datasets.base import FrameKey, Targets
from self6d.datasets.distortion import undistorted
from self6d.datasets.images import read_depth, read_depth_raw, read_rgb, to_metres
from self6d.datasets.intrinsics import Intrinsics
from self6d.datasets.registration import DepthCamera, registered
from self6d.errors import InputError
from self6d.files import note, read_json
from self6d.geometry import Camera
from self6d.scene import Frame, GroundTruth
from self6d.scene.mesh_names import MESH_SUFFIXES

Truth = tuple[GroundTruth, ...]

LABELLED, UNLABELLED = "labelled", "unlabelled"


@dataclass(frozen=True)
class FrameSource:
    """Where a frame's pixels lie.

    Attributes:
        name: short text that identifies the frame to a person.
        rgb, depth: image files; depth is None without depth.
        metres_per_unit: of the depth file's values.
        intrinsics: of the colour image.
        depth_camera: the depth image's own, where it is not registered to colour.
    """

    name: str
    rgb: Path
    depth: Path | None
    metres_per_unit: float
    intrinsics: Intrinsics
    depth_camera: DepthCamera | None = None


class Recording:
    """Base of the readers; see `self6d.datasets.base.Dataset` for the meaning of each method.

    A subclass sets `kind` and implements `source` and, where it has labels, `_truth`.

    Attributes:
        root: the folder or file it was opened from.
        kind: reader's name.
        keys: address of every frame, in order.
        reason: why this reader was chosen, one line.
        models_path: where the recording's CAD models lie, if they came with it.
        checked: whether a frame whose K is impossible is refused; the doctor looks at them too.
        targets: see `Dataset`.
        models_eval_path: BOP's models for errors, where the set has them.
    """

    kind = "recording"
    checked = True
    targets: Targets | None = None
    models_eval_path: Path | None = None

    def __init__(
        self,
        root: Path,
        keys: Iterable[FrameKey],
        *,
        reason: str = "",
        splits: Mapping[str, Sequence[FrameKey]] | None = None,
        models_path: Path | None = None,
    ) -> None:
        self.root = Path(root)
        self.keys: tuple[FrameKey, ...] = tuple(keys)
        self.reason = reason
        self.models_path = models_path
        self._splits = dict(splits or {})
        if not self.keys:
            raise InputError(
                f"no frame found (read as {self.kind})",
                path=self.root,
                remedy="Check that it holds colour images, or name the folder that does.",
            )

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r}, {len(self)} frames)"

    def frame(self, index: int, *, depth: bool = True) -> Frame:
        """Pixels and camera of a frame; never a label. Without `depth` no depth is decoded."""
        key = self.keys[index]
        source = self.source(key)
        if not depth:
            source = replace(source, depth=None)
        return read_frame(key, source, checked=self.checked)

    def truth(self, index: int) -> Truth:
        """Labels of a frame, empty where there are none. Evaluation and upper bound only."""
        return self._truth(self.keys[index])

    def upper_bound(self, index: int) -> Truth:
        """Labels set aside for the fully supervised bound; `upper_bound_truth` asks for them."""
        return self._truth(self.keys[index])

    def index(self, image_id: int, scene_id: int | None = None) -> int:
        """Position of a frame by its image number (and scene number, where there are several).

        Raises:
            InputError: no such frame, or several scenes have one.
        """
        found = [
            i
            for i, key in enumerate(self.keys)
            if key.image_id == image_id and scene_id in (None, key.scene_id)
        ]
        if len(found) == 1:
            return found[0]
        if not found:
            numbers = [key.image_id for key in self.keys]
            low, high = min(numbers), max(numbers)
            gaps = "" if len(set(numbers)) > high - low else "; not all between are in this split"
            raise InputError(
                f"there is no frame {image_id}",
                path=self.root,
                remedy=f"It has {len(self)} frames, numbered from {low} to {high}{gaps}.",
            )
        raise InputError(
            f"{len(found)} scenes have a frame {image_id}",
            path=self.root,
            remedy="Name the scene too, or open the scene's own folder.",
        )

    def split_names(self) -> tuple[str, ...]:
        """Names `split` accepts."""
        return tuple(sorted(self._splits))

    def splits_of_these_frames(self) -> tuple[str, ...]:
        """Those of `split_names` that are parts of this recording, not folders beside it."""
        return tuple(sorted(self._splits))

    def split_keys(self, name: str) -> list[FrameKey]:
        """Frames of this recording that a named split holds, in order.

        Beside the recording's own splits, "labelled" and "unlabelled" are the frames with and
        without truth.

        Raises:
            InputError: no such split; the remedy lists the names.
        """
        if name not in self._splits and name in (LABELLED, UNLABELLED):
            return [k for k in self.keys if bool(self._truth(k)) == (name == LABELLED)]
        if name not in self._splits:
            names = ", ".join((*self.split_names(), LABELLED, UNLABELLED))
            raise InputError(
                f"there is no split '{name}'",
                path=self.root,
                remedy=f"Splits here: {names}.",
            )
        wanted = set(self._splits[name])
        return [k for k in self.keys if k in wanted]

    def split(self, name: str) -> Recording:
        """The same recording restricted to a named split."""
        return self._restricted(self.split_keys(name), f"split '{name}'")

    def subset(self, indices: Sequence[int]) -> Self:
        """The same recording restricted to some frames."""
        return self._restricted([self.keys[i] for i in indices], "subset")

    def only(self, key: FrameKey) -> Self:
        """The same recording restricted to a frame, which belongs to no split any more."""
        other = self._restricted([key], "frame")
        other._splits = {}
        return other

    def _restricted(self, keys: list[FrameKey], what: str) -> Self:
        if not keys:
            raise InputError(
                f"{what} names no frame that is there",
                path=self.root,
                remedy="Check its numbers against the images.",
            )
        other = copy.copy(self)
        other.keys = tuple(keys)
        return other

    @property
    def bop_name(self) -> str:
        """What BOP's files call the images, DATASET-SPLIT, of letters, digits and - alone."""
        return f"{plain_name(self.root.absolute().name)}-test"

    def source(self, key: FrameKey) -> FrameSource:
        """Where a frame's pixels lie and how they are to be read."""
        raise NotImplementedError

    def raw_depth(self, key: FrameKey) -> np.ndarray | None:
        """Depth of a frame as it is stored, (H, W); None without depth."""
        path = self.source(key).depth
        return None if path is None else read_depth_raw(path)

    def _truth(self, key: FrameKey) -> Truth:
        return ()


def plain_name(text: str) -> str:
    """A name without what separates the parts of BOP's file names."""
    return re.sub(r"[^A-Za-z0-9]+", "", text) or "data"


def read_frame(key: FrameKey, source: FrameSource, *, checked: bool = True) -> Frame:
    """Read a frame's images, fit its camera to their size and undo its lens's distortion.

    Args:
        checked: refuse an impossible K.
    """
    rgb = read_rgb(source.rgb)
    h, w = rgb.shape[:2]
    depth = None
    if source.depth is not None and source.depth_camera is not None:
        camera = source.intrinsics.camera(w, h, checked=checked, image=source.rgb)
        rgb, _ = pinhole_images(source.intrinsics, camera, rgb, None)
        raw = to_metres(read_depth_raw(source.depth), source.metres_per_unit, source.depth)
        depth = registered(raw, source.depth_camera, camera, source.depth)
        return Frame(rgb, depth, camera, key.scene_id, key.image_id, source.name)
    if source.depth is not None:
        depth = read_depth(source.depth, source.metres_per_unit, (h, w))
    stated, path = source.intrinsics, source.rgb
    return frame_of(key, source.name, rgb, depth, stated, checked=checked, image=path)


def frame_of(
    key: FrameKey,
    name: str,
    rgb: np.ndarray,
    depth_m: np.ndarray | None,
    intrinsics: Intrinsics,
    *,
    checked: bool = True,
    image: Path | None = None,
) -> Frame:
    """A frame from pixels as they were recorded: where every reader undoes the lens's distortion.

    Args:
        rgb: (H, W, 3) uint8. depth_m: (H, W) float32, metres, registered to colour, or None.
        intrinsics: of colour, for this size or another of the same shape.
        checked: refuse an impossible K. image: the file, named where K is for others.

    Raises:
        InputError: K or the distortion is impossible, or for images of another shape.
    """
    h, w = rgb.shape[:2]
    camera = intrinsics.camera(w, h, checked=checked, image=image)
    rgb, depth_m = pinhole_images(intrinsics, camera, rgb, depth_m)
    return Frame(rgb, depth_m, camera, key.scene_id, key.image_id, name)


def pinhole_images(
    intrinsics: Intrinsics, camera: Camera, rgb: np.ndarray, depth_m: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour and depth with the lens's distortion undone, where the intrinsics state one."""
    bent = intrinsics.distortion
    if bent is None:
        return rgb, depth_m
    path = intrinsics.source or Path("camera")
    straight, depth_m = undistorted(bent, camera.K_opencv, path, rgb, depth_m)
    assert straight is not None
    return straight, depth_m


def pinhole_mask(
    intrinsics: Intrinsics, camera: Camera, mask: np.ndarray | None
) -> np.ndarray | None:
    """A mask drawn in the recorded image, (H, W) bool, as `pinhole_images` shows it."""
    if intrinsics.distortion is None or mask is None:
        return mask
    path = intrinsics.source or Path("camera")
    return undistorted(intrinsics.distortion, camera.K_opencv, path, mask)[0]


def upper_bound_truth(dataset: Recording) -> Callable[[int], Truth]:
    """Labels for training the fully supervised upper bound, and for nothing else.

    The only way to `scene_gt_upper_bound_only.json`, where a BOP folder has it; any other dataset
    gives its ordinary labels.

    Args:
        dataset: from `open_dataset`, possibly split.

    Returns:
        Labels of the frame at an index.
    """
    return dataset.upper_bound


def models_beside(path: Path, up: int = 2) -> Path | None:
    """The models/ (or meshes/) folder of a recording, in its folder or up to `up` levels above.

    Where there is none, CAD files that lie in the recording's own folder are its models, with a
    note; the folder itself is then given.
    """
    here = path.absolute()
    for folder in (here, *here.parents[:up]):
        for name in ("models", "meshes", "models_eval"):
            if (folder / name).is_dir():
                return folder / name
    return meshes_in(here)


def meshes_in(folder: Path) -> Path | None:
    """A folder, with a note, if CAD files lie in it beside other things; else None."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.name.lower().endswith(MESH_SUFFIXES)]
    except OSError:
        return None
    names = sorted(name for name in names if not name.startswith("."))
    if not names:
        return None
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    note(folder / names[0], f"CAD files beside the images are used: {names[0]}{more}")
    return folder


def splits_file(folder: Path, keys: Sequence[FrameKey]) -> dict[str, list[FrameKey]]:
    """Named splits of `folder`/splits.json.

    Each name maps to image numbers (one scene, or numbers that only one scene has), to
    "SCENE/IMAGE" texts or [scene, image] pairs, or to {scene: image numbers}.

    Raises:
        InputError: another shape, or a bare number that several scenes have.
    """
    path = folder / "splits.json"
    if not path.is_file():
        return {}
    scenes_of: dict[int, list[int]] = {}
    for key in keys:
        scenes_of.setdefault(key.image_id, []).append(key.scene_id)
    splits = {}
    for name, entries in read_json(path, "splits file").items():
        if isinstance(entries, dict):
            items = [[s, i] for s, ids in entries.items() for i in _listed(ids, name, path)]
        else:
            items = _listed(entries, name, path)
        splits[str(name)] = [k for item in items for k in _address(item, scenes_of, name, path)]
    return splits


def _listed(value: Any, name: str, path: Path) -> list:
    if not isinstance(value, list):
        raise _bad_split(name, path)
    return value


def _address(item: Any, scenes_of: dict[int, list[int]], name: str, path: Path) -> list[FrameKey]:
    try:
        if isinstance(item, str) and "/" in item:
            item = item.split("/")
        if isinstance(item, list):
            scene, image = (int(x) for x in item)
            return [FrameKey(scene, image)]
        image = int(item)
    except (TypeError, ValueError, OverflowError):
        raise _bad_split(name, path) from None
    scenes = scenes_of.get(image, [])
    if len(scenes) > 1:
        raise InputError(
            f"split '{name}' names image {image}, which {len(scenes)} scenes have",
            path=path,
            remedy='Write {"SCENE": [images]} or "SCENE/IMAGE" instead of bare numbers.',
        )
    return [FrameKey(scene, image) for scene in scenes]


def _bad_split(name: str, path: Path) -> InputError:
    return InputError(
        f"split '{name}' is not a list of image numbers",
        path=path,
        remedy='Write {"NAME": [1, 2, 3]} or {"NAME": {"SCENE": [1, 2, 3]}}.',
    )
