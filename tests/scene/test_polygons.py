"""Faces of many corners: the surface read is the polygon's own, whatever its shape."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from self6d.datasets import load_mesh, load_models
from self6d.errors import InputError
from self6d.geometry.polygons import triangulated

# an L, 40 mm high; area 2 x 3600 + 320 x 40, volume 3600 x 40
L = [(-50, -30), (50, -30), (50, -10), (-10, -10), (-10, 30), (-50, 30)]
CORNERS = np.array([(x, y, z) for z in (-20, 20) for x, y in L], float)
SIDES = [[i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6] for i in range(6)]


def prism(start: int) -> list[list[int]]:
    """The L's faces, both ends beginning at a corner of one's choice."""
    ring = [(start + k) % 6 for k in range(6)]
    return [ring[::-1], [k + 6 for k in ring], *SIDES]


def told(path: Path, faces: list[list[int]], kind: str) -> Path:
    if kind == "ply":
        head = "ply\nformat ascii 1.0\nelement vertex 12\n" + "".join(
            f"property double {axis}\n" for axis in "xyz"
        )
        head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
        lines = ["{:g} {:g} {:g}".format(*v) for v in CORNERS]
        lines += [" ".join(map(str, [len(f), *f])) for f in faces]
    elif kind == "off":
        head = f"OFF\n12 {len(faces)} 0\n"
        lines = ["{:g} {:g} {:g}".format(*v) for v in CORNERS]
        lines += [" ".join(map(str, [len(f), *f])) for f in faces]
    else:
        head = "vn 0 0 1\n"
        form = {"obj": lambda k: f"{k + 1}", "negative": lambda k: f"{k - 12}//-1"}[kind]
        lines = ["v {:g} {:g} {:g} # mm".format(*v) for v in CORNERS]
        lines += [" ".join(["f", *map(form, f)]) + " # side" for f in faces]
        lines += ["v 0 0 0", "f 1 2 \\\n 13"] if kind == "negative" else []
    path = path / f"part.{'obj' if kind == 'negative' else kind}"
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def area_and_volume(vertices: np.ndarray, faces: np.ndarray) -> tuple[float, float]:
    a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    return float(area), float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("start", [0, 2, 3, 5])
@pytest.mark.parametrize("kind", ["obj", "ply", "off"])
def test_the_notch_of_an_l_stays_open(tmp_path: Path, kind: str, start: int) -> None:
    model = load_mesh(told(tmp_path, prism(start), kind), unit="mm")
    area, volume = area_and_volume(1000 * model.vertices, model.faces)
    assert area == pytest.approx(20000, rel=1e-5)
    assert volume == pytest.approx(144000, rel=1e-5)


def test_corners_counted_backwards_comments_and_broken_lines(tmp_path: Path) -> None:
    model = load_mesh(told(tmp_path, prism(2), "negative"), unit="mm")
    area, _ = area_and_volume(1000 * model.vertices, model.faces)
    extra = np.linalg.norm(np.cross(CORNERS[1] - CORNERS[0], -CORNERS[0])) / 2
    assert area == pytest.approx(20000 + extra, rel=1e-5)


def test_random_outlines_are_covered_once() -> None:
    rng = np.random.default_rng(0)
    frame = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for _ in range(40):
        n = int(rng.integers(4, 30))
        angle, radius = np.sort(rng.uniform(0, 2 * np.pi, n)), rng.uniform(0.05, 1, n)
        if np.diff(angle, append=angle[0] + 2 * np.pi).max() > 3:
            continue  # the middle would lie outside
        flat = radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), 1)
        ahead = np.roll(flat, -1, axis=0)
        shoelace = (flat[:, 0] * ahead[:, 1] - flat[:, 1] * ahead[:, 0]).sum() / 2
        points = np.column_stack((flat, np.zeros(n))) @ frame.T + rng.normal(size=3)
        faces, owner = triangulated([np.arange(n)], points)
        a, b, c = (points[faces[:, k]] for k in range(3))
        normals = np.cross(b - a, c - a) / 2
        assert len(faces) == n - 2
        assert not owner.any()
        # no triangle is turned over, so areas add up only where nothing is covered twice
        assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(shoelace)
        assert normals @ np.cross(frame[:, 0], frame[:, 1]) == pytest.approx(
            np.linalg.norm(normals, axis=1)
        )


def test_colours_of_quads_stay_on_their_quads(tmp_path: Path) -> None:
    corners = np.array([(x, y, z) for x in (-50, 50) for y in (-30, 30) for z in (-20, 20)], float)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    head = "ply\nformat binary_big_endian 1.0\nelement vertex 8\n" + "".join(
        f"property double {axis}\n" for axis in "xyz"
    )
    head += "element face 6\nproperty list uchar uint vertex_indices\n" + "".join(
        f"property uchar {name}\n" for name in ("red", "green", "blue")
    )
    data = f"{head}end_header\n".encode() + corners.astype(">f8").tobytes()
    data += b"".join(struct.pack(">B4I3B", 4, *q, 40 * k, 9, 200) for k, q in enumerate(quads))
    (tmp_path / "box.ply").write_bytes(data)
    model = load_mesh(tmp_path / "box.ply", unit="mm")
    assert model.faces.shape == (12, 3)
    middle = model.vertices[model.faces]
    for k, quad in enumerate(quads):
        axis = int(np.ptp(corners[quad], axis=0).argmin())
        side = np.isclose(1000 * middle[..., axis], corners[quad[0], axis], atol=1e-3).all(1)
        assert side.sum() == 2
        np.testing.assert_allclose(
            255 * model.colors[model.faces[side]], np.broadcast_to((40 * k, 9, 200), (2, 3, 3)),
            atol=0.01,
        )  # fmt: skip


@pytest.mark.parametrize("kind", ["obj", "ply", "off"])
def test_a_polygon_of_missing_vertices_is_one_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError):
        load_models(told(tmp_path, [*prism(0), [0, 1, 2, 3, 99]], kind), unit="mm")
