"""Textures and material colours as files have them: repeated, damaged, given as one number."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from self6d.datasets import load_mesh
from self6d.files import forget_notes
from self6d.scene.appearance import surface_points

SQUARE = np.array([[0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0.0]])
UP = np.array([0, 0, 1.0])
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)


@pytest.fixture(autouse=True)
def _fresh_notes() -> None:
    forget_notes()


def two_squares(folder: Path, suffix: str, times: int, size: int = 16) -> Path:
    """A square with four quarters, repeated, and a plain one 50 mm above it."""
    image = Image.fromarray(np.kron(QUARTERS, np.ones((size // 2, size // 2, 1), np.uint8)))
    path = folder / f"part{suffix}"
    if suffix == ".obj":
        image.save(folder / "a.png")
        (folder / "m.mtl").write_text("newmtl a\nmap_Kd a.png\nnewmtl b\nKd 0.2 0.4 0.6\n")
        lines = ["mtllib m.mtl"]
        lines += ["v {:g} {:g} {:g}".format(*v) for v in (*SQUARE, *(SQUARE + 50 * UP))]
        lines += [f"vt {u * times} {v * times}" for u, v in ((0, 0), (1, 0), (1, 1), (0, 1))]
        lines += ["usemtl a", "f 1/1 2/2 3/3 4/4", "usemtl b", "f 5 6 7 8"]
        path.write_text("\n".join(lines))
        return path
    scene = trimesh.Scene()
    for height, material in ((0, PBRMaterial(baseColorTexture=image)),
                             (50, PBRMaterial(baseColorFactor=[9, 90, 200, 255]))):  # fmt: skip
        visual = TextureVisuals(uv=SQUARE[:, :2] / 100 * times, material=material)
        faces = [[0, 1, 2], [0, 2, 3]]
        vertices = SQUARE + height * UP
        scene.add_geometry(trimesh.Trimesh(vertices, faces, visual=visual, process=False))
    scene.export(path)
    return path


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_texture_repeats_beside_other_parts(tmp_path: Path, suffix: str, times: int) -> None:
    model = load_mesh(two_squares(tmp_path, suffix, times), unit="mm")
    points, colours = surface_points(model, 2000, np.random.default_rng(0))
    low = points[:, 2] < 0.01
    u, v = (times * points[low, :2] / 0.1 % 1).T
    expected = QUARTERS[(v < 0.5).astype(int), (u >= 0.5).astype(int)]
    off = np.abs(255 * colours[low] - expected).max(1)
    assert (off < 1).mean() > 0.99  # but for points that lie on a border between texels


def test_a_texture_repeated_too_often_is_made_smaller_and_said(tmp_path: Path, caplog) -> None:
    model = load_mesh(two_squares(tmp_path, ".obj", 8, size=1024), unit="mm")
    assert "a texture is repeated 8 times; made smaller, 512x512 pixels" in caplog.text
    assert model.texture is not None
    assert max(model.texture.shape) < 4200
    points, colours = surface_points(model, 500, np.random.default_rng(0))
    low = points[:, 2] < 0.01
    u, v = (8 * points[low, :2] / 0.1 % 1).T
    expected = QUARTERS[(v < 0.5).astype(int), (u >= 0.5).astype(int)]
    assert (np.abs(255 * colours[low] - expected).max(1) < 1).mean() > 0.98


def one_square(folder: Path, material: str) -> Path:
    (folder / "m.mtl").write_text(f"newmtl a\n{material}\n")
    lines = ["mtllib m.mtl", *("v {:g} {:g} {:g}".format(*v) for v in SQUARE)]
    lines += [f"vt {u} {v}" for u, v in ((0, 0), (1, 0), (1, 1), (0, 1))]
    path = folder / "part.obj"
    path.write_text("\n".join([*lines, "usemtl a", "f 1/1 2/2 3/3 4/4"]))
    return path


@pytest.mark.parametrize(
    ("stated", "colour"),
    [("0.4 0.4 0.4", (102, 102, 102)), ("0.5", (127.5, 127.5, 127.5)), ("128 64 0", (128, 64, 0)),
     ("0.2 0.4 0.6", (51, 102, 153)), ("1 1 1", (255, 255, 255))],
)  # fmt: skip
def test_the_colour_of_a_material_as_stated(tmp_path: Path, stated: str, colour) -> None:
    """0.4 three times is what the parser takes where nothing is stated; one number is a grey."""
    model = load_mesh(one_square(tmp_path, f"Kd {stated}"), unit="mm")
    assert model.has_color
    np.testing.assert_allclose(255 * model.colors, np.tile(colour, (4, 1)), atol=0.01)


def test_a_material_that_states_no_colour_gives_none(tmp_path: Path) -> None:
    assert not load_mesh(one_square(tmp_path, "Ns 10"), unit="mm").has_color


@pytest.mark.parametrize("kind", ["obj", "glb", "gltf", "ply"])
@pytest.mark.parametrize("damage", ["truncated", "no image"])
def test_a_damaged_texture_is_said_and_no_colour(tmp_path: Path, caplog, kind, damage) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    image = tmp_path / "a.png"
    Image.fromarray(pixels).save(image)
    whole = image.read_bytes()
    broken = (whole[:3000] if damage == "truncated" else b"no image").ljust(len(whole), b"\0")
    image.write_bytes(broken)
    path = tmp_path / f"part.{kind}"
    if kind == "obj":
        path = one_square(tmp_path, "Kd 1 0 0\nmap_Kd a.png")
    elif kind == "ply":
        head = ["ply", "format ascii 1.0", "comment TextureFile a.png", "element vertex 4"]
        head += [f"property float {n}" for n in ("x", "y", "z", "s", "t")]
        head += ["element face 1", "property list uchar int vertex_indices", "end_header"]
        rows = ["{:g} {:g} {:g} 0 1".format(*v) for v in SQUARE]
        path.write_text("\n".join([*head, *rows, "4 0 1 2 3"]) + "\n")
    else:
        material = PBRMaterial(baseColorTexture=Image.fromarray(pixels))
        visual = TextureVisuals(uv=SQUARE[:, :2] / 100, material=material)
        mesh = trimesh.Trimesh(SQUARE, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)
        data = mesh.export(file_type="glb")
        at = data.index(b"\x89PNG")
        data = data[:at] + broken + data[at + len(whole) :]
        assert len(data) == struct.unpack("<I", data[8:12])[0]
        path.write_bytes(data)
        if kind == "gltf":
            for name, part in trimesh.exchange.gltf.export_gltf(trimesh.Scene(mesh)).items():
                (tmp_path / name.replace("model.gltf", "part.gltf")).write_bytes(
                    part.replace(whole, broken)
                )
    model = load_mesh(path, unit="mm")
    assert "its texture cannot be read (" in caplog.text
    assert not model.has_color
    assert len(model.faces) == 2


def test_texts_with_a_mark_of_their_encoding(tmp_path: Path) -> None:
    text = one_square(tmp_path, "Kd 0.2 0.4 0.6").read_text()
    for encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / "part.obj").write_text(text, encoding=encoding)
        model = load_mesh(tmp_path / "part.obj", unit="mm")
        np.testing.assert_allclose(255 * model.colors[0], (51, 102, 153), atol=0.01)
    data = trimesh.creation.box((120.0, 80, 60)).export(file_type="ply", encoding="ascii")
    (tmp_path / "box.ply").write_bytes(b"\xef\xbb\xbf" + data)
    box = load_mesh(tmp_path / "box.ply", unit="mm")
    np.testing.assert_allclose(np.ptp(box.extents, axis=0), [0.12, 0.08, 0.06], atol=1e-6)


@pytest.mark.parametrize("nodes", [True, False])
def test_gltf_without_a_scene_is_all_it_holds(tmp_path: Path, nodes: bool) -> None:
    """A parent at half its size, or meshes alone; "mesh has no faces" was said."""
    box = trimesh.creation.box((0.12, 0.08, 0.06))
    parts = trimesh.exchange.gltf.export_gltf(trimesh.Scene(box))
    tree = json.loads(parts["model.gltf"])
    del tree["scene"], tree["scenes"]
    tree["nodes"] = [{"mesh": 0}, {"children": [0], "scale": [0.5, 0.5, 0.5]}]
    if not nodes:
        del tree["nodes"]
    for name, data in parts.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "model.gltf").write_text(json.dumps(tree))
    model = load_mesh(tmp_path / "model.gltf", unit="m")
    size = np.array([0.12, 0.08, 0.06]) * (0.5 if nodes else 1)
    np.testing.assert_allclose(np.ptp(model.extents, axis=0), size, atol=1e-6)


def test_parts_without_a_colour_beside_others_are_said(tmp_path: Path, caplog) -> None:
    """They were grey, and nothing was said."""
    path = one_square(tmp_path, "Kd 1 0 0\nnewmtl plain\nNs 10")
    path.write_text(path.read_text() + "\nusemtl plain\nf 1/1 2/2 3/3\n")
    model = load_mesh(path, unit="mm")
    assert model.has_color
    assert "1 of its 3 triangles have no colour; they are grey" in caplog.text
