"""CAD files as people have them: units, stray vertices, colours; each with its right value."""

from __future__ import annotations

import json
import logging
import shutil
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from self6d.datasets import load_mesh, load_models
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.paths import resource
from self6d.scene.mesh_names import is_mesh

SAMPLE = resource("sample/models")
SIZES_MM = (176.5, 143.8, 152.5)
PART_MM = 156.2


@pytest.fixture(autouse=True)
def _fresh_notes() -> None:
    forget_notes()


def brick() -> trimesh.Trimesh:
    """120 x 80 x 60 mm, 156.2 mm across, each face a grid."""
    mesh = trimesh.creation.box((120.0, 80, 60))
    for _ in range(2):
        mesh = mesh.subdivide()
    return mesh


def sample_in(folder: Path, scale: float, suffix: str) -> Path:
    for n in (1, 2, 3):
        mesh = trimesh.load(SAMPLE / f"obj_{n:06d}.ply", process=False)
        mesh.apply_scale(scale)
        folder.mkdir(parents=True, exist_ok=True)
        mesh.export(folder / f"part_{n}{suffix}")
    return folder


def sizes_mm(models) -> list[float]:
    return [1000 * model.diameter for model in models]


@pytest.mark.parametrize(
    ("unit", "per_mm", "suffix"),
    [("inch", 1 / 25.4, ".stl"), ("cm", 0.1, ".stl"), ("cm", 0.1, ".obj"), ("cm", 0.1, ".ply"),
     ("m", 0.001, ".stl"), ("mm", 1.0, ".stl")],
)  # fmt: skip
def test_the_unit_of_a_folder(tmp_path: Path, unit, per_mm, suffix, caplog) -> None:
    folder = sample_in(tmp_path, per_mm, suffix)
    with caplog.at_level(logging.WARNING, "self6d"):
        models = load_models(folder)
    assert sizes_mm(models) == pytest.approx(SIZES_MM, abs=0.1)
    assert {m.guessed_unit for m in models} == {unit}
    assert f"taken as {unit}" in caplog.text
    assert "name it: --unit" in caplog.text
    assert ("ambiguous" in caplog.text) == (unit in ("inch", "cm"))  # others leave little doubt
    caplog.clear()
    named = load_models(folder, unit)
    assert sizes_mm(named) == pytest.approx(SIZES_MM, abs=0.1)
    assert {m.guessed_unit for m in named} == {None}
    assert "taken as" not in caplog.text


def test_files_of_a_folder_have_one_unit(tmp_path: Path, caplog) -> None:
    """14.1 units alone look like centimetres, beside 6.1 like inches."""
    for name, mm in (("part", 1.0), ("big_part", 2.3)):
        mesh = brick()
        mesh.apply_scale(mm / 25.4)
        mesh.export(tmp_path / f"{name}.stl")
    with caplog.at_level(logging.WARNING, "self6d"):
        big, part = load_models(tmp_path)
    assert 1000 * part.diameter == pytest.approx(PART_MM, abs=0.1)
    assert 1000 * big.diameter == pytest.approx(359.3, abs=0.2)
    assert len([r for r in caplog.records if "taken as inch" in r.message]) == 1
    with caplog.at_level(logging.WARNING, "self6d"):
        load_mesh(tmp_path / "big_part.stl")
    assert "inch: 35.9 cm" in caplog.text  # the right one is named
    named = load_mesh(tmp_path / "big_part.stl", unit="inch")
    assert 1000 * named.diameter == pytest.approx(359.3, abs=0.2)


def test_centimetres_as_dope_stores_ycb(tmp_path: Path, caplog) -> None:
    can = trimesh.creation.cylinder(radius=5.1, height=14.0)
    can.export(tmp_path / "can.obj")
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(tmp_path / "can.obj")
    assert 1000 * model.diameter == pytest.approx(173.2, abs=0.3)
    assert "taken as cm" in caplog.text


def test_a_vertex_that_no_face_uses(tmp_path: Path, caplog) -> None:
    mesh = brick()
    stray = np.vstack((mesh.vertices, [1500.0, 0, 0]))
    trimesh.Trimesh(stray, mesh.faces, process=False).export(tmp_path / "part.ply")
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(tmp_path / "part.ply")
    assert 1000 * model.diameter == pytest.approx(PART_MM, abs=0.1)
    assert "left out 1 vertex that no face uses" in caplog.text


def test_what_macos_keeps_beside_files(tmp_path: Path) -> None:
    shutil.copy(SAMPLE / "obj_000002.ply", tmp_path)
    for name in ("._obj_000002.ply", "._models_info.json", "._part.stl"):
        (tmp_path / name).write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    (model,) = load_models(tmp_path)
    assert model.object_id == 2
    assert 1000 * model.diameter == pytest.approx(143.8, abs=0.1)
    assert not is_mesh(tmp_path / "._part.stl")


def ramp(mesh: trimesh.Trimesh) -> np.ndarray:
    """(V, 3) uint8 that vary over the mesh."""
    low, high = mesh.bounds
    return np.round(40 + 200 * (mesh.vertices - low) / (high - low)).astype(np.uint8)


def write_ply(path: Path, names, kind: str, vertex=None, face=None) -> Path:
    """The brick as ASCII PLY with colour properties of those names."""
    mesh = brick()
    head = ["ply", "format ascii 1.0", f"element vertex {len(mesh.vertices)}"]
    head += [f"property float {n}" for n in "xyz"]
    head += [f"property {kind} {n}" for n in names if vertex is not None]
    head += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices"]
    head += [f"property {kind} {n}" for n in names if face is not None]
    rows = [[*v, *([] if vertex is None else vertex[i])] for i, v in enumerate(mesh.vertices)]
    rows += [[3, *f, *([] if face is None else face[i])] for i, f in enumerate(mesh.faces)]
    lines = head + ["end_header"] + [" ".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("names", "kind", "full"),
    [("r g b", "uchar", 255), ("diffuse_red diffuse_green diffuse_blue", "uchar", 255),
     ("Red Green Blue", "uchar", 255), ("red green blue", "float", 255),
     ("red green blue", "double", 1), ("red green blue", "ushort", 65535)],
)  # fmt: skip
def test_ply_colours_under_other_names_and_types(tmp_path: Path, names, kind, full) -> None:
    colours = ramp(brick())
    values = colours.astype(float) * full / 255
    values = np.round(values).astype(int) if kind in ("uchar", "ushort") else values
    model = load_mesh(write_ply(tmp_path / "p.ply", names.split(), kind, values))
    assert model.has_color
    np.testing.assert_allclose(model.colors, colours / 255, atol=2e-3)


def test_of_vertex_and_face_colours_those_that_vary(tmp_path: Path) -> None:
    mesh, names = brick(), ("red", "green", "blue")
    vertex, white = ramp(mesh), np.full((len(mesh.faces), 3), 255)
    of_vertices = load_mesh(write_ply(tmp_path / "v.ply", names, "uchar", vertex, white))
    np.testing.assert_allclose(of_vertices.colors, vertex / 255, atol=2e-3)
    faces = vertex[mesh.faces].mean(1).astype(int)
    white = np.full((len(mesh.vertices), 3), 255)
    model = load_mesh(write_ply(tmp_path / "f.ply", names, "uchar", white, faces))
    np.testing.assert_allclose(model.colors[model.faces].mean(1), faces / 255, atol=2e-3)


def write_obj(folder: Path, mtl: str | None, *, colours=None, name="part", use="m") -> Path:
    """The brick with texture coordinates, CRLF line ends."""
    mesh = brick()
    folder.mkdir(parents=True, exist_ok=True)
    lines = [] if mtl is None else [f"mtllib {name}.mtl"]
    rows = mesh.vertices if colours is None else np.hstack((mesh.vertices, colours))
    lines += ["v " + " ".join(f"{x:.5f}" for x in row) for row in rows]
    uv = (mesh.vertices[:, :2] / [120, 80] + 0.5).clip(0.01, 0.99)
    lines += [f"vt {u:.5f} {v:.5f}" for u, v in uv]
    lines += [f"usemtl {use}"] if use else []
    lines += ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in mesh.faces]
    if mtl is not None:
        (folder / f"{name}.mtl").write_text(mtl.replace("\n", "\r\n"))
    path = folder / f"{name}.obj"
    path.write_text("\r\n".join(lines) + "\r\n")
    return path


def picture(path: Path) -> np.ndarray:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4], pixels[:, 4:] = (200, 60, 20), (20, 120, 220)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.mark.parametrize(
    ("stated", "there"),
    [("t.png", "t.png"), (r"textures\my tex.png", "textures/my tex.png"),
     (r"C:\Users\cad\Desktop\t.png", "t.png"), ("/home/cad/t.png", "t.png"),
     ("my%20tex.png", "my tex.png"), ("T.PNG", "t.png"), ('"t.png"', "t.png"),
     ("-s 1 1 1 -o 0 0 0 -bm 0.5 my t.png", "my t.png"), ("-clamp on t.png", "t.png")],
)  # fmt: skip
def test_the_texture_is_found_as_programs_name_it(tmp_path: Path, stated, there) -> None:
    pixels = picture(tmp_path / there)
    obj = write_obj(tmp_path, f"newmtl m\nKd 0.8 0.8 0.8\nmap_Kd {stated}\n", name="my part")
    model = load_mesh(obj)
    assert model.has_color
    np.testing.assert_array_equal(model.texture, pixels)


def test_a_missing_texture_is_said_and_no_colour(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(write_obj(tmp_path, "newmtl m\nKd 0.8 0.8 0.8\nmap_Kd t.png\n"))
    assert not model.has_color
    assert "texture is missing (t.png)" in caplog.text
    with caplog.at_level(logging.WARNING, "self6d"):
        obj = write_obj(tmp_path / "x", "newmtl m\n")
        (tmp_path / "x" / "part.mtl").unlink()
        assert not load_mesh(obj).has_color
    assert "materials are missing (part.mtl)" in caplog.text


def test_an_obj_that_uses_no_material_takes_the_only_one(tmp_path: Path, caplog) -> None:
    pixels = picture(tmp_path / "t.png")
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(write_obj(tmp_path, "newmtl m\nmap_Kd t.png\n", use=""))
    np.testing.assert_array_equal(model.texture, pixels)
    assert "uses no material" in caplog.text


@pytest.mark.parametrize("full", [1, 255])
def test_vertex_colours_win_over_a_plain_material(tmp_path: Path, full) -> None:
    colours = ramp(brick()) / 255
    obj = write_obj(tmp_path, "newmtl Material\nKd 0.8 0.8 0.8\n", colours=colours * full,
                    use="Material")  # fmt: skip
    model = load_mesh(obj)
    assert model.has_color
    np.testing.assert_allclose(model.colors, colours, atol=3e-3)


def test_a_grey_texture_of_16_bits(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 32896, np.uint16)).save(tmp_path / "t.png")
    model = load_mesh(write_obj(tmp_path, "newmtl m\nmap_Kd t.png\n"))
    np.testing.assert_array_equal(model.texture, 128)


def write_glb(path: Path, attributes, material=None, generator="", **more) -> Path:
    """The brick in metres; `attributes` are (N, C) arrays, `material` a table with image 0."""
    mesh = brick()
    image = BytesIO()
    picture_at = np.zeros((8, 8, 3), np.uint8)
    picture_at[:, :4], picture_at[:, 4:] = (200, 60, 20), (20, 120, 220)
    Image.fromarray(picture_at).save(image, "PNG")
    arrays = {"POSITION": (mesh.vertices / 1000).astype(np.float32), **attributes,
              "indices": mesh.faces.astype(np.uint32).reshape(-1, 1)}  # fmt: skip
    kinds = {"f": 5126, "u": {1: 5121, 2: 5123, 4: 5125}}
    blob, views, accessors = b"", [], []
    for name, a in arrays.items():
        code = kinds["f"] if a.dtype.kind == "f" else kinds["u"][a.dtype.itemsize]
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": a.nbytes})
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[a.shape[1]]
        accessors.append({
            "bufferView": len(accessors), "componentType": code, "count": len(a), "type": kind,
            "normalized": name == "COLOR_0" and code != 5126,
        })  # fmt: skip
        blob += a.tobytes() + b"\0" * (-a.nbytes % 4)
    views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(image.getvalue())})
    blob += image.getvalue() + b"\0" * (-len(image.getvalue()) % 4)
    places = {name: i for i, name in enumerate(arrays) if name != "indices"}
    primitive = {"attributes": places, "indices": len(arrays) - 1}
    tree = {"asset": {"version": "2.0", "generator": generator}, "scenes": [{"nodes": [0]}],
            "scene": 0, "nodes": [{"mesh": 0}], "meshes": [{"primitives": [primitive]}],
            "accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(blob)}],
            "images": [{"bufferView": len(arrays), "mimeType": "image/png"}],
            "textures": [{"source": 0}], **more}  # fmt: skip
    if material is not None:
        primitive["material"], tree["materials"] = 0, [material]
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIIII", b"glTF", 2, 28 + len(text) + len(blob), len(text), 0x4E4F534A)
    path.write_bytes(head + text + struct.pack("<II", len(blob), 0x004E4942) + blob)
    return path


def linear_light(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("material", [None, {"pbrMetallicRoughness": {"metallicFactor": 0}}])
@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_gltf_vertex_colours_are_linear(tmp_path: Path, kind, material) -> None:
    colours = ramp(brick()) / 255
    stored = linear_light(colours)
    stored = np.round(stored * 65535) if kind == np.uint16 else stored
    stored = np.column_stack((stored, np.ones(len(stored)))).astype(kind)
    model = load_mesh(write_glb(tmp_path / "p.glb", {"COLOR_0": stored}, material))
    assert model.has_color
    np.testing.assert_allclose(model.colors, colours, atol=3e-3)


def test_gltf_texture_transform_and_second_coordinates(tmp_path: Path) -> None:
    uv = (brick().vertices[:, :2] / [120, 80] + 0.5).clip(0.01, 0.99).astype(np.float32)
    table = lambda **more: {  # noqa: E731
        "pbrMetallicRoughness": {"baseColorTexture": {"index": 0, **more}}
    }
    plain = load_mesh(write_glb(tmp_path / "a.glb", {"TEXCOORD_0": uv}, table()))
    second = {"TEXCOORD_0": np.zeros_like(uv), "TEXCOORD_1": uv}
    other = load_mesh(write_glb(tmp_path / "b.glb", second, table(texCoord=1)))
    np.testing.assert_allclose(other.uv, plain.uv, atol=1e-6)
    moved = {"KHR_texture_transform": {"scale": [2, 1], "offset": [0.1, 0]}}
    half = ((uv - [0.1, 0]) / [2, 1]).astype(np.float32)
    scaled = write_glb(tmp_path / "c.glb", {"TEXCOORD_0": half}, table(extensions=moved))
    np.testing.assert_allclose(load_mesh(scaled).uv, plain.uv, atol=1e-6)


def uv_of_brick() -> np.ndarray:
    return (brick().vertices[:, :2] / [120, 80] + 0.5).clip(0.01, 0.99).astype(np.float32)


def base(**more) -> dict:
    return {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, **more}}


def srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_gltf_colours_multiply_in_linear_light(tmp_path: Path, caplog) -> None:
    """Texture, factor and COLOR_0: exact where it is one colour, at vertices where it varies."""
    uv, half = {"TEXCOORD_0": uv_of_brick()}, np.array([0.5, 0.25, 1.0])
    plain = load_mesh(write_glb(tmp_path / "a.glb", uv, base()))
    expected = np.round(255 * srgb(linear_light(plain.texture / 255) * half))
    tinted = load_mesh(write_glb(tmp_path / "b.glb", uv, base(baseColorFactor=[*half, 1])))
    np.testing.assert_allclose(tinted.texture, expected, atol=1)
    flat = np.tile(half.astype(np.float32), (len(brick().vertices), 1))
    model = load_mesh(write_glb(tmp_path / "c.glb", {**uv, "COLOR_0": flat}, base()))
    np.testing.assert_allclose(model.texture, expected, atol=1)
    light = linear_light(ramp(brick()) / 255)
    both = {**uv, "COLOR_0": light.astype(np.float32)}
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(write_glb(tmp_path / "d.glb", both, base()))
    assert model.texture is None
    assert "reduced to vertex colours" in caplog.text
    np.testing.assert_allclose(model.colors, srgb(linear_light(plain.colors) * light), atol=2e-3)
    dark = {"pbrMetallicRoughness": {"baseColorFactor": [0.002, 0.002, 0.002, 1]}}
    model = load_mesh(write_glb(tmp_path / "e.glb", {}, dark))
    np.testing.assert_allclose(
        model.colors, 12.92 * 0.002, atol=1e-4
    )  # 8 bits would be off by half


def test_specular_and_glossiness(tmp_path: Path) -> None:
    uv = {"TEXCOORD_0": uv_of_brick()}
    plain = load_mesh(write_glb(tmp_path / "a.glb", uv, base()))
    name = "KHR_materials_pbrSpecularGlossiness"
    gloss = {"diffuseTexture": {"index": 0}, "specularFactor": [0, 0, 0]}
    grey = {"baseColorFactor": [0.5, 0.5, 0.5, 1]}  # for readers that know no glossiness
    material = {"pbrMetallicRoughness": grey, "extensions": {name: gloss}}
    model = load_mesh(write_glb(tmp_path / "b.glb", uv, material))
    np.testing.assert_array_equal(model.texture, plain.texture)
    material["extensions"] = {name: {"diffuseFactor": [1, 0, 0, 1]}}
    model = load_mesh(write_glb(tmp_path / "c.glb", uv, material))
    np.testing.assert_allclose(model.colors, np.tile([1, 0, 0], (len(model.vertices), 1)))


@pytest.mark.parametrize(
    ("images", "textures", "named"),
    [([{"uri": "my%20wood.png"}], [{"source": 0}], "my%20wood.png"),
     ([{"uri": "wood.ktx2"}], [{"extensions": {"KHR_texture_basisu": {"source": 0}}}],
      "KHR_texture_basisu"),
     ([], [{}], "names no image")],
)  # fmt: skip
def test_a_missing_image_of_gltf_is_named(tmp_path, caplog, images, textures, named) -> None:
    uv = {"TEXCOORD_0": uv_of_brick()}
    path = write_glb(tmp_path / "a.glb", uv, base(baseColorFactor=[1, 1, 1, 1]), images=images,
                     textures=textures)  # fmt: skip
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(path)
    assert not model.has_color
    assert "texture is missing" in caplog.text
    assert named in caplog.text


def test_compressed_gltf_is_refused_by_name(tmp_path: Path) -> None:
    extension = "KHR_draco_mesh_compression"
    path = write_glb(tmp_path / "p.glb", {}, extensionsRequired=[extension])
    with pytest.raises(InputError, match="compressed \\(Draco\\)"):
        load_mesh(path)
