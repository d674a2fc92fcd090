"""Published facts about well-known object sets: names, ids, symmetries."""

from __future__ import annotations

import numpy as np

from self6d.scene.mesh import Symmetry

# BOP object id -> (name, diameter in mm as BOP's models_info states it)
LINEMOD = {
    1: ("ape", 102.099),
    2: ("benchvise", 247.506),
    3: ("bowl", 167.355),
    4: ("camera", 172.492),
    5: ("can", 201.404),
    6: ("cat", 154.546),
    7: ("cup", 124.264),
    8: ("driller", 261.472),
    9: ("duck", 108.999),
    10: ("eggbox", 164.628),
    11: ("glue", 175.889),
    12: ("holepuncher", 145.543),
    13: ("iron", 278.078),
    14: ("lamp", 282.601),
    15: ("phone", 212.358),
}

# BOP's models_info of lm and lmo, millimetres
_LINEMOD_SYMMETRY_MM = {
    10: (-0.999964, -0.00333777, -0.0077452, 0.232611, 0.00321462, -0.999869, 0.0158593, 0.694388,
         -0.00779712, 0.0158338, 0.999844, -0.0792063, 0, 0, 0, 1),
    11: (-0.999633, 0.026679, 0.00479336, -0.262139, -0.0266744, -0.999644, 0.00100504, -0.197966,
         0.00481847, 0.000876815, 0.999988, 0.0321652, 0, 0, 0, 1),
}  # fmt: skip

# YCB-Video's class list; an object's BOP id is its place in it
YCB_CLASSES = (
    "002_master_chef_can",
    "003_cracker_box",
    "004_sugar_box",
    "005_tomato_soup_can",
    "006_mustard_bottle",
    "007_tuna_fish_can",
    "008_pudding_box",
    "009_gelatin_box",
    "010_potted_meat_can",
    "011_banana",
    "019_pitcher_base",
    "021_bleach_cleanser",
    "024_bowl",
    "025_mug",
    "035_power_drill",
    "036_wood_block",
    "037_scissors",
    "040_large_marker",
    "051_large_clamp",
    "052_extra_large_clamp",
    "061_foam_brick",
)


def linemod_name(object_id: int, diameter_mm: float | None) -> str | None:
    """LineMOD's name of an object recognised by id and diameter."""
    name, known = LINEMOD.get(object_id, ("", 0.0))
    return name if diameter_mm is not None and abs(known - diameter_mm) < 0.01 else None


def linemod_symmetry(object_id: int, diameter_mm: float | None) -> Symmetry | None:
    """BOP's symmetry of LineMOD's eggbox and glue, recognised by id and diameter."""
    if object_id not in _LINEMOD_SYMMETRY_MM or linemod_name(object_id, diameter_mm) is None:
        return None
    m = np.array(_LINEMOD_SYMMETRY_MM[object_id], dtype=np.float64).reshape(4, 4)
    m[:3, 3] /= 1000
    return Symmetry(discrete=m[None])


def known_id(name: str, *, linemod: bool = False) -> int | None:
    """BOP's number of an object by its folder's or file's name: YCB's, LineMOD's if asked."""
    if name in YCB_CLASSES:
        return YCB_CLASSES.index(name) + 1
    if linemod:
        name = {"benchviseblue": "benchvise", "cam": "camera"}.get(name, name)
        return next((i for i, (known, _) in LINEMOD.items() if known == name), None)
    return None
