"""PLY files as programs write them: any element, polygons of any length, textures on polygons."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from self6d.datasets import load_mesh
from self6d.files import forget_notes
from self6d.scene import ObjectModel
from self6d.scene.surface import texels

# a house in mm: two walls of five corners, two of four, a floor; two triangles and a quad as roof
WALL = [(0, 0), (80, 0), (80, 50), (40, 90), (0, 50)]
CORNERS = np.array([(x, y, z) for y in (0, 60) for x, z in WALL], float)
FACES = [
    [0, 1, 2, 3, 4], [9, 8, 7, 6, 5], [1, 6, 7, 2], [0, 4, 9, 5], [0, 5, 6, 1], [4, 3, 8, 9],
    [2, 7, 8], [2, 8, 3],
]  # fmt: skip
AREA = 2 * (80 * 50 + 80 * 40 / 2) + 2 * 50 * 60 + 80 * 60 + 2 * 60 * np.hypot(40, 40)
VOLUME = (80 * 50 + 80 * 40 / 2) * 60


@pytest.fixture(autouse=True)
def _fresh_notes() -> None:
    forget_notes()


def write(path: Path, kind: str, elements: list, comments: tuple[str, ...] = ()) -> Path:
    """Args: elements: name, [property types and names], rows (a list property's as a list)."""
    head = ["ply", f"format {kind} 1.0", *(f"comment {c}" for c in comments)]
    for name, properties, rows in elements:
        head += [f"element {name} {len(rows)}", *(f"property {p}" for p in properties)]
    codes = {"uchar": "B", "int": "i", "float": "f", "double": "d"}
    order = ">" if "big" in kind else "<"
    body = b""
    for _, properties, rows in elements:
        for row in rows:
            for value, how in zip(row, properties, strict=True):
                *listed, of = [codes[w] for w in how.split() if w in codes]
                values = value if listed else [value]
                if kind == "ascii":
                    text = [*([len(values)] if listed else []), *values]
                    body += (" ".join(map(str, text)) + " ").encode()
                else:
                    body += struct.pack(order + "B", len(values)) if listed else b""
                    body += struct.pack(f"{order}{len(values)}{of}", *values)
            body += b"\n" if kind == "ascii" else b""
    path.write_bytes("\n".join([*head, "end_header\n"]).encode() + body)
    return path


PLACES = ["double x", "double y", "double z"]
LIST = "list uchar int vertex_indices"
VERTICES = ("vertex", PLACES, CORNERS.tolist())
HOUSE = ("face", [LIST], [[f] for f in FACES])
KINDS = pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])


def check(model: ObjectModel) -> None:
    a, b, c = (1000 * model.vertices[model.faces[:, k]].astype(float) for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert area == pytest.approx(AREA, rel=1e-5)
    assert (a * np.cross(b, c)).sum() / 6 == pytest.approx(VOLUME, rel=1e-5)


@KINDS
def test_polygons_of_many_lengths(tmp_path: Path, kind: str) -> None:
    check(load_mesh(write(tmp_path / "house.ply", kind, [VERTICES, HOUSE]), unit="mm"))


@KINDS
@pytest.mark.parametrize("first", [True, False])
def test_elements_that_are_not_the_mesh(tmp_path: Path, kind: str, first: bool) -> None:
    edges = ("edge", ["int vertex1", "int vertex2", "uchar crease"], [[0, 1, 9], [1, 2, 9]])
    camera = ("camera", ["float view_px", "list uchar float more"], [[0.5, [1, 2]], [1.5, []]])
    order = [edges, VERTICES, camera, HOUSE] if first else [VERTICES, HOUSE, camera, edges]
    model = load_mesh(write(tmp_path / "house.ply", kind, order), unit="mm")
    check(model)
    np.testing.assert_allclose(model.error_points, CORNERS / 1000)


def picture(path: Path) -> np.ndarray:
    """Every texel its own colour."""
    y, x = np.mgrid[:64, :64]
    pixels = np.stack((4 * x, 4 * y, 128 + 0 * x), axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def texture_of(points: np.ndarray) -> np.ndarray:
    """Texture coordinates that the house has at points (..., 3), mm; alike along y."""
    return np.stack((points[..., 0] / 80 * 0.9 + 0.05, points[..., 2] / 90 * 0.9 + 0.05), axis=-1)


@KINDS
@pytest.mark.parametrize("names", ["texture_u texture_v", "s t", "u v", "texcoord"])
def test_texture_on_polygons(tmp_path: Path, kind: str, names: str) -> None:
    pixels = picture(tmp_path / "paint.png")
    uv = texture_of(CORNERS)
    vertices, faces = VERTICES, HOUSE
    if names == "texcoord":
        rows = [[f, uv[f].reshape(-1).tolist()] for f in FACES]
        faces = ("face", [LIST, "list uchar float texcoord"], rows)
    else:
        of = [f"double {name}" for name in names.split()]
        vertices = ("vertex", PLACES + of, np.hstack((CORNERS, uv)).tolist())
    path = write(
        tmp_path / "house.ply", kind, [vertices, faces], comments=("TextureFile paint.png",)
    )
    model = load_mesh(path, unit="mm")
    check(model)
    assert model.texture is not None
    np.testing.assert_array_equal(model.texture, pixels)
    where = 1000 * model.vertices[model.faces].astype(float)
    np.testing.assert_allclose(model.uv, texture_of(where), atol=1e-6)


@KINDS
def test_coordinates_without_an_image_leave_the_colours(tmp_path: Path, kind: str, caplog) -> None:
    colours = np.arange(30).reshape(10, 3) * 8
    rows = np.hstack((CORNERS, texture_of(CORNERS))).tolist()
    rows = [[*row, *colour] for row, colour in zip(rows, colours.tolist(), strict=True)]
    properties = [*PLACES, "double s", "double t", "uchar red", "uchar green", "uchar blue"]
    model = load_mesh(
        write(tmp_path / "house.ply", kind, [("vertex", properties, rows), HOUSE]), unit="mm"
    )
    check(model)
    assert "its texture is missing (none is named)" in caplog.text
    assert model.texture is None
    place = {tuple(v): c for v, c in zip(CORNERS.tolist(), colours.tolist(), strict=True)}
    for vertex, colour in zip(1000 * model.vertices, 255 * model.colors, strict=True):
        np.testing.assert_allclose(colour, place[tuple(np.round(vertex).tolist())], atol=1e-3)


def test_each_face_has_the_texture_that_its_number_names(tmp_path: Path) -> None:
    """As MeshLab writes several images."""
    for name, colour in (("a.png", (250, 10, 20)), ("b b.png", (30, 40, 240))):
        Image.new("RGB", (16, 16), colour).save(tmp_path / name)
    uv = texture_of(CORNERS)
    rows = [[f, uv[f].reshape(-1).tolist(), k % 2] for k, f in enumerate(FACES)]
    faces = ("face", [LIST, "list uchar float texcoord", "int texnumber"], rows)
    comments = ("TextureFile a.png", "TextureFile b b.png")
    path = write(tmp_path / "house.ply", "binary_little_endian", [VERTICES, faces], comments)
    model = load_mesh(path, unit="mm")
    check(model)
    assert model.texture is not None
    where = 1000 * model.vertices[model.faces].mean(1)
    seen = 255 * texels(model.texture, model.uv.mean(1))
    for middle, colour in zip(where, seen, strict=True):
        y, z = middle[1], middle[2]
        front, floor = y < 1, z < 1
        if front or floor:  # faces 0 and 4
            np.testing.assert_allclose(colour, (250, 10, 20), atol=0.01)
        elif y > 59:  # face 1
            np.testing.assert_allclose(colour, (30, 40, 240), atol=0.01)
    assert {tuple(c.round().astype(int)) for c in seen} == {(250, 10, 20), (30, 40, 240)}


@KINDS
def test_as_many_face_colours_as_vertices(tmp_path: Path, kind: str) -> None:
    """A tetrahedron's four faces, each of a colour, are not its four vertices."""
    corners = [[0.0, 0, 0], [100.0, 0, 0], [0, 100.0, 0], [0, 0, 100.0]]
    faces = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]
    rows = [[f, 60 * k, 255 - 60 * k, 7] for k, f in enumerate(faces)]
    properties = [LIST, "uchar red", "uchar green", "uchar blue"]
    elements = [("vertex", PLACES, corners), ("face", properties, rows)]
    model = load_mesh(write(tmp_path / "four.ply", kind, elements), unit="mm")
    for k, face in enumerate(model.faces):
        of_face = np.broadcast_to((60 * k, 255 - 60 * k, 7), (3, 3))
        np.testing.assert_allclose(255 * model.colors[face], of_face, atol=0.01)


def test_bytes_behind_the_end_are_told_of(tmp_path: Path, caplog) -> None:
    path = write(tmp_path / "house.ply", "binary_little_endian", [VERTICES, HOUSE])
    path.write_bytes(path.read_bytes() + b"more")
    check(load_mesh(path, unit="mm"))
    assert "left out 4 bytes behind what its header states" in caplog.text
