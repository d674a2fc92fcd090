"""The splits of the paper by name, found from the lists that come with each set.

lm13-adapt, lm13-eval: LineMOD's 13 objects; the 15 % (Brachmann et al., CVPR 2016) as unlabelled
    frames, from image_set/OBJECT_train.txt or SCENE/training_range.txt; DenseFusion's copy has
    them as train.txt and test.txt.
lmo-bop200, lmo-adapt: BOP's 200 frames of LineMOD-Occlusion, and the other frames.
hb3-adapt, hb3-eval: HomebrewedDB's scene 2 (benchvise, driller, phone). The paper publishes no
    list of its 15 %; here it is every frame at equal spacing.
lmcrop11-train, lmcrop11-test: Cropped LineMOD's 11 objects (`readers.cropped`), from
    image_set_lm_crop/lm_crop_{train,test}_OBJECT.txt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from self6d.datasets.base import FrameKey
from self6d.errors import InputError
from self6d.files import read_text
from self6d.scene.known import LINEMOD, linemod_name
from self6d.scene.models_info import read_models_info

OBJECTS = {
    "lm13": (1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15),
    "lmo8": (1, 5, 6, 8, 9, 10, 11, 12),
    "hb3": (2, 7, 21),
    "lmcrop11": (1, 2, 4, 5, 6, 8, 9, 12, 13, 14, 15),
}

# test_targets_bop19.json of LM-O, scene 2
LMO_BOP200 = (
    3, 8, 17, 27, 36, 38, 39, 41, 47, 58, 61, 62, 64, 65, 69, 72, 79, 89, 96, 97, 102, 107, 110,
    115, 119, 124, 126, 136, 153, 156, 162, 166, 175, 176, 178, 203, 207, 217, 219, 221, 224,
    243, 248, 249, 254, 258, 263, 266, 268, 277, 283, 307, 310, 322, 326, 338, 342, 356, 362,
    365, 368, 387, 389, 402, 415, 417, 425, 428, 434, 435, 438, 442, 446, 453, 473, 474, 476,
    477, 480, 491, 494, 499, 501, 503, 521, 527, 529, 532, 535, 540, 543, 549, 560, 563, 571,
    575, 589, 603, 607, 611, 615, 625, 642, 648, 649, 650, 652, 667, 669, 679, 691, 695, 703,
    708, 711, 727, 736, 737, 739, 740, 750, 754, 756, 757, 758, 761, 762, 764, 768, 769, 770,
    773, 775, 785, 788, 791, 794, 801, 803, 804, 808, 809, 819, 821, 828, 837, 840, 844, 850,
    856, 867, 871, 877, 883, 886, 894, 902, 903, 904, 907, 909, 918, 925, 934, 942, 952, 956,
    961, 968, 969, 972, 982, 984, 991, 1001, 1012, 1038, 1050, 1057, 1061, 1069, 1071, 1087,
    1098, 1099, 1103, 1107, 1117, 1123, 1131, 1144, 1148, 1151, 1157, 1168, 1169, 1176, 1180,
    1199, 1212,
)  # fmt: skip
_SHARE = 0.15


def paper_splits(
    root: Path, keys: Sequence[FrameKey], models_path: Path | None
) -> dict[str, list[FrameKey]]:
    """The paper's splits a BOP recording can offer; empty ones are left out.

    Args:
        root: the set's folder, where lists such as image_set/ lie.
        keys: its frames.
        models_path: its models, by whose published diameters LineMOD is recognised.
    """
    scenes = {key.scene_id for key in keys}
    splits: dict[str, list[FrameKey]] = {}
    if _is_linemod(models_path):
        if scenes == {2}:
            wanted = {FrameKey(2, i) for i in LMO_BOP200}
            splits["lmo-bop200"] = [k for k in keys if k in wanted]
            splits["lmo-adapt"] = [k for k in keys if k not in wanted]
        train = set(_listed(root, "image_set", "{name}_train.txt", keys))
        train |= set(_training_ranges(root, scenes))
        if train:
            thirteen = [k for k in keys if k.scene_id in OBJECTS["lm13"]]
            splits["lm13-adapt"] = [k for k in thirteen if k in train]
            splits["lm13-eval"] = [k for k in thirteen if k not in train]
        for part in ("train", "test"):
            pattern = f"lm_crop_{part}_{{name}}.txt"
            splits[f"lmcrop11-{part}"] = _listed(root, "image_set_lm_crop", pattern, keys)
    if root.absolute().name.lower().startswith(("hb", "homebrew")) and 2 in scenes:
        scene = [k for k in keys if k.scene_id == 2]
        adapt = set(scene[:: max(1, round(1 / _SHARE))])
        splits["hb3-adapt"] = sorted(adapt)
        splits["hb3-eval"] = [k for k in scene if k not in adapt]
    return {name: split for name, split in splits.items() if split}


def _is_linemod(models_path: Path | None) -> bool:
    if models_path is None:
        return False
    try:
        infos = read_models_info(models_path)
    except InputError:
        return False  # reported when the models are read
    known = [linemod_name(number, info.diameter_mm) for number, info in infos.items()]
    return bool(known) and all(known)


def _listed(root: Path, folder: str, pattern: str, keys: Iterable[FrameKey]) -> list[FrameKey]:
    found: set[FrameKey] = set()
    for scene, (name, _) in LINEMOD.items():
        path = root / folder / pattern.format(name=name)
        if path.is_file():
            found |= {FrameKey(scene, i) for i in _numbers(path)}
    return [k for k in keys if k in found]


def _training_ranges(root: Path, scenes: Iterable[int]) -> list[FrameKey]:
    found = []
    for scene in scenes:
        for path in (root / f"{scene:06d}", root / "test" / f"{scene:06d}"):
            if (path / "training_range.txt").is_file():
                found += [FrameKey(scene, i) for i in _numbers(path / "training_range.txt")]
    return found


def _numbers(path: Path) -> list[int]:
    words = read_text(path, "split file").split()
    if not all(word.isdecimal() for word in words):
        raise InputError(
            "split file holds something that is no image number",
            path=path,
            remedy="Write one number a line.",
        )
    return [int(word) for word in words]
