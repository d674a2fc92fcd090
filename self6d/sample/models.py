"""CAD of the three sample objects, made by code and stored in resources/sample/models.

    flask    turned bottle: continuous symmetry about z, hardly any texture
    bracket  cast bracket of one colour: no symmetry, no texture
    tugboat  painted toy: colourful

Units are millimetres, as in BOP model files.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from self6d.files import check_free
from self6d.sample.solids import (
    box,
    capsule,
    cylinder,
    ellipsoid,
    fillet,
    lathe,
    mesh_from_distance,
    union,
)

Solid = tuple[np.ndarray, np.ndarray, np.ndarray]  # vertices mm, faces, colours uint8

NAMES = {1: "flask", 2: "bracket", 3: "tugboat"}


def _flask() -> Solid:
    corners = np.array(
        [(0, 0), (31, 0), (34, 6), (34, 62), (31, 68), (31, 84), (34, 90), (34, 104), (25, 124),
         (13, 134), (13, 143), (21, 146), (21, 166), (17, 171), (0, 171)], float,
    )  # fmt: skip
    vertices, faces = lathe(fillet(corners, 6.0), 48)
    cap = vertices[:, 2] > 144
    colors = np.where(cap[:, None], (58, 66, 74), (166, 188, 186)).astype(np.uint8)
    return vertices, faces, colors


def _bracket_distance(p: np.ndarray) -> np.ndarray:
    plate = box(p, (0, 0, 5), (116, 64, 10), 4)
    wall = box(p, (-52, 6, 31), (12, 52, 62), 4)
    rib = np.maximum(
        box(p, (-28, 26, 26), (50, 10, 50), 4),
        ((p[:, 0] + 46) * 0.72 + (p[:, 2] - 58) * 0.69),
    )
    boss = cylinder(p, (30, 9, 18), 19, 36, 2, 4)
    lug = cylinder(p, (-52, 14, 62), 15, 12, 0, 4)
    body = union(plate, wall, rib, boss, lug, blend=5)
    bore = cylinder(p, (30, 9, 30), 10, 60, 2, 1)
    eye = cylinder(p, (-52, 14, 63), 7, 40, 0, 1)
    slot = capsule(p * (1, 1, 0.05), (-22, -14, 0.2), (8, -14, 0.2), 7)
    return np.maximum(body, -np.minimum(np.minimum(bore, eye), slot))


def _bracket() -> Solid:
    vertices, faces = mesh_from_distance(_bracket_distance, (-64, -40, -6), (66, 40, 84), 3.9)
    colors = np.broadcast_to(np.array([178, 116, 62], np.uint8), vertices.shape)
    return vertices, faces, np.array(colors)


def _tugboat_parts(p: np.ndarray) -> dict[str, np.ndarray]:
    x, y, z = p.T
    # the hull narrows to the bow (+x) and its deck rises there
    width = 30 * np.clip(1 - (np.maximum(x - 5, 0) / 72) ** 2, 0.02, 1)
    deck = 34 + 0.0024 * np.maximum(x, 0) ** 2
    sides = (np.abs(y) - width + (0.14 * (deck - z))) * 0.8
    rough = np.maximum(np.maximum(sides, z - deck), np.maximum(-z, np.abs(x) - 72))
    return {
        "hull": rough + 0.0,
        "cabin": box(p, (-14, 3, 50), (48, 36, 40), 5),
        "roof": box(p, (-14, 3, 72), (56, 43, 7), 3),
        "funnel": cylinder(p, (-44, -9, 62), 11, 64, 2, 3),
        "light": ellipsoid(p, (46, 0, 47), (11, 11, 12)),
        "buoy": ellipsoid(p, (18, -24, 40), (13, 9, 13)),
    }


def _tugboat_distance(p: np.ndarray) -> np.ndarray:
    return union(*_tugboat_parts(p).values(), blend=3)


def _tugboat() -> Solid:
    vertices, faces = mesh_from_distance(_tugboat_distance, (-82, -42, -6), (82, 42, 104), 4.1)
    parts = _tugboat_parts(vertices)
    owner = np.argmin(np.stack(list(parts.values())), axis=0)
    x, y, z = vertices.T
    paint = {
        "hull": (196, 34, 40), "cabin": (240, 236, 222), "roof": (34, 96, 186),
        "funnel": (246, 190, 24), "light": (40, 168, 92), "buoy": (244, 120, 30),
    }  # fmt: skip
    colors = np.array([paint[name] for name in parts], np.uint8)[owner]
    hull, cabin, funnel, buoy = (
        owner == list(parts).index(n) for n in ("hull", "cabin", "funnel", "buoy")
    )
    deck = 34 + 0.0024 * np.maximum(x, 0) ** 2
    colors[hull & (z < 12)] = (42, 48, 62)
    colors[hull & (z > deck - 9) & (z < deck - 2.5)] = (244, 240, 228)
    colors[hull & (z >= deck - 2.5)] = (202, 158, 104)
    colors[hull & (y > 0) & (np.hypot(x + 30, z - 20) < 8)] = (244, 190, 24)  # port mark
    colors[cabin & (np.abs(z - 54) < 8) & (np.abs((x + 14) % 18 - 9) < 5.5)] = (70, 158, 214)
    colors[cabin & (np.abs(z - 54) < 8) & (np.abs(y - 3) < 11) & (x > 4)] = (70, 158, 214)
    colors[funnel & (np.abs(z - 80) < 6)] = (30, 32, 38)
    colors[buoy & (np.abs(np.arctan2(z - 40, x - 18) % (np.pi / 2) - 0.8) < 0.32)] = (246, 242, 232)
    return vertices, faces, colors


def make_sample_models(out: Path) -> None:
    """Write the sample's CAD in BOP layout: obj_00000N.ply (mm, vertex colours), models_info.json.

    Args:
        out: folder to create; must not exist or be empty.

    Raises:
        InputError: the folder holds files already.
    """
    out = Path(out)
    check_free(out)
    out.mkdir(parents=True, exist_ok=True)
    info = {}
    for object_id, build in ((1, _flask), (2, _bracket), (3, _tugboat)):
        vertices, faces, colors = build()
        low, high = vertices.min(0), vertices.max(0)
        vertices = np.round(vertices - (low + high) / 2, 4).astype(np.float32)
        _write_ply(out / f"obj_{object_id:06d}.ply", vertices, faces, colors)
        low, high = vertices.min(0).astype(float), vertices.max(0).astype(float)
        hull = vertices[ConvexHull(vertices).vertices].astype(float)
        entry: dict = {"diameter": round(float(pdist(hull).max()), 4)}
        entry |= {f"min_{a}": round(v, 4) for a, v in zip("xyz", low, strict=True)}
        entry |= {f"size_{a}": round(v, 4) for a, v in zip("xyz", high - low, strict=True)}
        if object_id == 1:
            entry["symmetries_continuous"] = [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]
        info[str(object_id)] = entry | {"name": NAMES[object_id]}
    (out / "models_info.json").write_text(json.dumps(info, indent=1) + "\n")


def _write_ply(path: Path, vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> None:
    """Binary little-endian PLY with vertex colours."""
    head = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\n"
        + "".join(f"property float {a}\n" for a in "xyz")
        + "".join(f"property uchar {c}\n" for c in ("red", "green", "blue"))
        + f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    v = np.empty(len(vertices), [("p", "<f4", 3), ("c", "u1", 3)])
    v["p"], v["c"] = vertices, colors
    f = np.empty(len(faces), [("n", "u1"), ("i", "<i4", 3)])
    f["n"], f["i"] = 3, faces
    path.write_bytes(head.encode() + v.tobytes() + f.tobytes())
