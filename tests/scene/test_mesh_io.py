"""Every way a CAD file carries geometry and colour."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as world
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial, SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from self6d.datasets import load_mesh, load_models
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.scene.models_copy import read_models, save_models


@pytest.fixture(autouse=True)
def _fresh_notes() -> None:
    forget_notes()


def test_coloured_ply_in_millimetres(tmp_path: Path) -> None:
    model = load_mesh(world.cube(tmp_path / "obj_000007.ply"), 7)
    assert model.object_id == 7
    assert model.vertices.dtype == np.float32
    assert model.faces.dtype == np.int32
    np.testing.assert_allclose(model.extents, [[-0.05] * 3, [0.05] * 3])
    assert model.diameter == pytest.approx(0.1 * 3**0.5)
    np.testing.assert_allclose(
        model.colors, (model.vertices > 0) * (200 / 255) + 20 / 255, atol=1e-6
    )
    assert model.has_color


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb", ".stl", ".off"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"box{suffix}"
    trimesh.creation.box((0.1, 0.2, 0.3)).export(path)
    model = load_mesh(path, unit="m")
    np.testing.assert_allclose(np.ptp(model.extents, axis=0), [0.1, 0.2, 0.3], atol=1e-6)
    assert len(model.faces) == 12
    volume = trimesh.Trimesh(model.vertices, model.faces, process=False).volume
    assert volume == pytest.approx(0.006, rel=1e-5)  # faces keep their orientation


def test_stl_soup_is_merged(tmp_path: Path) -> None:
    trimesh.creation.icosphere(subdivisions=2, radius=50).export(tmp_path / "ball.stl")
    model = load_mesh(tmp_path / "ball.stl")
    assert len(model.vertices) == 162  # not three for each of the 320 faces
    assert not model.has_color


def test_few_doubles_stay(tmp_path: Path) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=50)
    vertices = np.concatenate((mesh.vertices, mesh.vertices[:5]))
    faces = np.array(mesh.faces)
    for double in range(5):  # one face of each goes over to its double, as along a seam
        row = np.flatnonzero((faces == double).any(1))[0]
        faces[row][faces[row] == double] = 162 + double
    path = world.cube(tmp_path / "seam.ply", vertices=vertices, faces=faces)
    assert len(load_mesh(path).vertices) == 167


def test_face_colours_do_not_bleed(tmp_path: Path) -> None:
    mesh = trimesh.creation.box((100, 100, 100))
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 255, (6, 3)).repeat(2, axis=0)
    side = np.array([int(np.abs(n).argmax() * 2 + (n.sum() > 0)) for n in mesh.face_normals])
    colors = colors[::2][side]
    mesh.visual.face_colors = np.column_stack((colors, np.full(12, 255)))
    mesh.export(tmp_path / "dice.ply")
    model = load_mesh(tmp_path / "dice.ply")
    assert len(model.vertices) == 24  # four corners for each of six colours
    for face, color in zip(model.faces, colors, strict=True):
        np.testing.assert_allclose(model.colors[face] * 255, [color] * 3, atol=0.01)


def picture() -> np.ndarray:
    """A texture whose four quarters are red, green (top), blue, white (bottom)."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4, :4], image[:4, 4:] = (255, 0, 0), (0, 255, 0)
    image[4:, :4], image[4:, 4:] = (0, 0, 255), (255, 255, 255)
    return image


# a square in z = 0 whose texture coordinates are its x and y: v upwards, so y up is texture top
QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]]) * 100
QUAD_FACES = np.array([[0, 1, 2], [0, 2, 3]])
QUAD_UV = QUAD[:, :2] / 100
CORNERS = {(0, 0): (0, 0, 1), (1, 0): (1, 1, 1), (1, 1): (0, 1, 0), (0, 1): (1, 0, 0)}


def check_quad(model) -> None:
    assert model.uv is not None
    assert model.uv.shape == (len(model.faces), 3, 2)
    assert model.texture is not None
    for vertex, color in zip(model.vertices / np.ptp(model.vertices), model.colors, strict=True):
        np.testing.assert_allclose(color, CORNERS[tuple(np.round(vertex[:2]).astype(int))])


def ply_quad(path: Path, *, per_face: bool, texture: str = "paint.png", colored: bool = False):
    head = ["ply", "format ascii 1.0", f"comment TextureFile {texture}", "element vertex 4"]
    head += [f"property float {n}" for n in "xyz"]
    head += [] if per_face else ["property float texture_u", "property float texture_v"]
    head += [f"property uchar {n}" for n in ("red", "green", "blue")] if colored else []
    head += ["element face 2", "property list uchar int vertex_indices"]
    head += ["property list uchar float texcoord"] if per_face else []
    rows = []
    for vertex, uv in zip(QUAD, QUAD_UV, strict=True):
        row = [*vertex] + ([] if per_face else [*uv]) + ([10, 20, 30] if colored else [])
        rows.append(" ".join(map(str, row)))
    for face in QUAD_FACES:
        row = [3, *face] + ([6, *QUAD_UV[face].reshape(-1)] if per_face else [])
        rows.append(" ".join(map(str, row)))
    path.write_text("\n".join([*head, "end_header", *rows]) + "\n")
    return path


@pytest.mark.parametrize("per_face", [False, True])
def test_textured_ply(tmp_path: Path, per_face: bool) -> None:
    cv2.imwrite(str(tmp_path / "paint.png"), picture()[..., ::-1])
    model = load_mesh(ply_quad(tmp_path / "quad.ply", per_face=per_face))
    check_quad(model)
    np.testing.assert_array_equal(model.texture, picture())


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_textured_obj_and_glb(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(picture())
    material = (
        SimpleMaterial(image=image) if suffix == ".obj" else PBRMaterial(baseColorTexture=image)
    )
    visual = TextureVisuals(uv=QUAD_UV, material=material)
    mesh = trimesh.Trimesh(QUAD / 1000, QUAD_FACES, visual=visual, process=False)
    mesh.export(tmp_path / f"quad{suffix}")
    check_quad(load_mesh(tmp_path / f"quad{suffix}", unit="m"))


@pytest.mark.parametrize("colored", [False, True])
def test_missing_texture_falls_back(
    tmp_path: Path, colored: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = ply_quad(tmp_path / "quad.ply", per_face=False, texture="gone.png", colored=colored)
    with caplog.at_level(logging.WARNING, "self6d"):
        model = load_mesh(path)
    assert "texture is missing" in caplog.text
    assert model.texture is None
    assert model.has_color == colored
    if colored:
        np.testing.assert_allclose(model.colors * 255, [[10, 20, 30]] * 4, atol=0.01)


def test_a_texture_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "secret.png"), picture())
    (tmp_path / "inner").mkdir()
    path = ply_quad(tmp_path / "inner" / "quad.ply", per_face=False, texture="../secret.png")
    assert load_mesh(path).texture is None


def test_repeating_texture_is_moved_to_the_first_tile(tmp_path: Path) -> None:
    visual = TextureVisuals(
        uv=QUAD_UV * 0.5 + [3.25, -2.0],
        material=PBRMaterial(baseColorTexture=Image.fromarray(picture())),
    )
    mesh = trimesh.Trimesh(QUAD / 1000, QUAD_FACES, visual=visual, process=False)
    mesh.export(tmp_path / "tile.glb")
    model = load_mesh(tmp_path / "tile.glb")
    np.testing.assert_allclose(model.uv.min((0, 1)), [0.25, 0], atol=1e-5)
    np.testing.assert_allclose(model.uv.max((0, 1)), [0.75, 0.5], atol=1e-5)


def test_parts_of_a_scene_share_one_texture(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    for n, color in enumerate(((255, 0, 0), (0, 255, 0))):
        part = trimesh.creation.box((0.1, 0.1, 0.1))
        image = Image.fromarray(np.full((4 + n, 8, 3), color, np.uint8))
        uv = np.random.default_rng(n).random((len(part.vertices), 2))
        part.visual = TextureVisuals(uv=uv, material=PBRMaterial(baseColorTexture=image))
        scene.add_geometry(
            part, transform=trimesh.transformations.translation_matrix([0.2 * n, 0, 0])
        )
    plain = trimesh.creation.box((0.1, 0.1, 0.1))
    plain.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[0, 0, 255, 255]))
    scene.add_geometry(plain, transform=trimesh.transformations.translation_matrix([0.4, 0, 0]))
    scene.export(tmp_path / "three.glb")
    model = load_mesh(tmp_path / "three.glb")
    assert len(model.faces) == 36
    centre = model.vertices[model.faces].mean(1)
    h, w = model.texture.shape[:2]
    for k, color in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        mine = np.abs(centre[:, 0] - 0.2 * k) < 0.06
        uv = model.uv[mine].reshape(-1, 2)
        texel = model.texture[((1 - uv[:, 1]) * h).astype(int), (uv[:, 0] * w).astype(int)]
        np.testing.assert_array_equal(texel, [color] * len(texel))


def test_gltf_factor_is_linear_light(tmp_path: Path) -> None:
    mesh = trimesh.creation.box((0.1, 0.1, 0.1))
    mesh.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[55, 55, 55, 255]))
    mesh.export(tmp_path / "grey.glb")
    # sRGB of 55/255 in linear light: 1.055 * 0.2157^(1/2.4) - 0.055 = 0.502
    np.testing.assert_allclose(load_mesh(tmp_path / "grey.glb").colors, 0.502, atol=2e-3)


def test_bop_folder(tmp_path: Path) -> None:
    for number in (12, 3):
        world.cube(tmp_path / f"obj_{number:06d}.ply")
    world.dump(
        tmp_path / "models_info.json",
        {
            "3": {"diameter": 173.0, "symmetries_discrete": [[-1, 0, 0, 5, 0, -1, 0, 0,
                                                              0, 0, 1, 0, 0, 0, 0, 1]]},
            "12": {"diameter": 173.2, "name": "box",
                   "symmetries_continuous": [{"axis": [0, 0, 2], "offset": [1, 2, 3]}]},
        },
    )  # fmt: skip
    three, twelve = load_models(tmp_path)
    assert (three.object_id, three.name) == (3, "obj_000003")
    assert three.diameter == pytest.approx(0.173)  # as published
    np.testing.assert_allclose(three.symmetry.discrete[0, :3, 3], [0.005, 0, 0])
    assert (twelve.object_id, twelve.name) == (12, "box")
    np.testing.assert_allclose(twelve.symmetry.axes, [[0, 0, 1]])
    np.testing.assert_allclose(twelve.symmetry.offsets, [[0.001, 0.002, 0.003]])


def test_plain_folder_counts_by_name(tmp_path: Path) -> None:
    for name in ("wrench", "anvil"):
        world.cube(tmp_path / f"{name}.ply")
    (tmp_path / "readme.txt").write_text("no mesh")
    assert [(m.object_id, m.name) for m in load_models(tmp_path)] == [(1, "anvil"), (2, "wrench")]


def test_files_and_single_file(tmp_path: Path) -> None:
    a, b = world.cube(tmp_path / "a.ply"), world.cube(tmp_path / "x" / "b.ply")
    assert [m.name for m in load_models([b, a])] == ["b", "a"]
    assert [m.name for m in load_models(a)] == ["a"]


def test_ycb_folder(tmp_path: Path) -> None:
    for name in ("006_mustard_bottle", "003_cracker_box"):
        mesh = trimesh.creation.box((0.1, 0.1, 0.2))
        (tmp_path / name).mkdir()
        mesh.export(tmp_path / name / "textured.obj")
        mesh.export(tmp_path / name / "nontextured.ply")
    found = [(m.object_id, m.name) for m in load_models(tmp_path)]
    assert found == [(2, "003_cracker_box"), (5, "006_mustard_bottle")]


def test_same_stem_twice_takes_the_richer_format(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world.cube(tmp_path / "cup.ply")
    trimesh.creation.box((0.1, 0.1, 0.2)).export(tmp_path / "cup.glb")
    with caplog.at_level(logging.WARNING, "self6d"):
        (model,) = load_models(tmp_path)
    assert model.source.suffix == ".glb"
    assert "several files are named cup" in caplog.text


def test_linemod_objects_are_recognised(tmp_path: Path) -> None:
    world.cube(tmp_path / "obj_10.ply")
    scale = 164.62758848 / (100 * 3**0.5)
    world.cube(tmp_path / "obj_10.ply", scale)
    (tmp_path / "models_info.yml").write_text("10: {diameter: 164.62758848, min_x: -75.0}\n")
    (model,) = load_models(tmp_path)
    assert model.name == "eggbox"
    assert model.symmetric  # which the .yml of LineMOD's copies leaves out


def test_no_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no CAD model"):
        load_models(tmp_path)
    with pytest.raises(InputError, match="missing"):
        load_models(tmp_path / "gone.ply")


def test_runs_copies_of_a_grey_mesh_are_told_of_once(tmp_path, caplog) -> None:
    """Two runs that are compared, as another session made them."""
    file = tmp_path / "cube.ply"
    trimesh.Trimesh(world.CUBE, world.CUBE_FACES).export(file)
    save_models(load_models(file), tmp_path / "made")
    runs = [shutil.copytree(tmp_path / "made", tmp_path / run / "models") for run in "ab"]
    forget_notes()
    caplog.clear()
    assert [read_models(run)[0].has_color for run in runs] == [False, False]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{runs[0] / 'obj_000001.ply'}: mesh has no colour")
