"""COLLADA files: unit, up axis, places, materials, colours of corners and textures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from self6d.datasets import load_mesh
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.scene import mesh_names
from self6d.scene.mesh import ObjectModel

SIDES = (0.3, 0.4, 0.5)
RED = "<diffuse><color>1 0 0 1</color></diffuse>"
TEXTURE = '<diffuse><texture texture="t-sampler" texcoord="UV"/></diffuse>'
IMAGE = '<library_images><image id="t"><init_from>./t.png</init_from></image></library_images>'
SAMPLER = (
    '<newparam sid="t-surface"><surface type="2D"><init_from>t</init_from></surface></newparam>'
    '<newparam sid="t-sampler"><sampler2D><source>t-surface</source></sampler2D></newparam>'
)


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    forget_notes()
    caplog.set_level(logging.WARNING, "self6d")


@pytest.fixture
def reader() -> None:
    pytest.importorskip("collada", reason="DAE is read by the extra [cad]")


def source(name: str, values: np.ndarray, axes: str) -> str:
    rows = np.reshape(values, (-1, len(axes)))
    parameters = "".join(f'<param name="{a}" type="float"/>' for a in axes)
    return (
        f'<source id="{name}"><float_array id="{name}-a" count="{rows.size}">'
        f"{' '.join(f'{v:.6g}' for v in rows.ravel())}</float_array><technique_common>"
        f'<accessor source="#{name}-a" count="{len(rows)}" stride="{len(axes)}">{parameters}'
        "</accessor></technique_common></source>"
    )


def geometry(vertices: np.ndarray, polygons: list, more: dict[str, tuple] | None = None) -> str:
    """Args: more: semantic -> (values, axes, of each corner its number)."""
    more = more or {}
    inputs = '<input semantic="VERTEX" source="#v" offset="0"/>'
    sources = source("p", vertices, "XYZ")
    numbers = [np.concatenate(polygons)]
    for offset, (semantic, (values, axes, of_corners)) in enumerate(more.items(), 1):
        sources += source(semantic, values, axes)
        inputs += f'<input semantic="{semantic}" source="#{semantic}" offset="{offset}" set="0"/>'
        numbers.append(of_corners)
    counts = " ".join(str(len(p)) for p in polygons)
    listed = " ".join(map(str, np.stack(numbers, axis=1).ravel()))
    return (
        f'<geometry id="g"><mesh>{sources}<vertices id="v"><input semantic="POSITION" '
        f'source="#p"/></vertices><polylist count="{len(polygons)}" material="m">{inputs}'
        f"<vcount>{counts}</vcount><p>{listed}</p></polylist></mesh></geometry>"
    )


def save(
    path: Path,
    shape: str,
    paint: str = RED,
    unit: str = '<unit name="meter" meter="1"/>',
    up: str = "Z_UP",
    nodes: tuple[str, ...] = ("",),
) -> Path:
    instance = (
        '<instance_geometry url="#g"><bind_material><technique_common><instance_material '
        'symbol="m" target="#mat"><bind_vertex_input semantic="UV" input_semantic="TEXCOORD" '
        'input_set="0"/></instance_material></technique_common></bind_material>'
        "</instance_geometry>"
    )
    placed = "".join(f"<node>{node}{instance}</node>" for node in nodes)
    path.write_text(
        '<?xml version="1.0"?><COLLADA version="1.4.1" '
        'xmlns="http://www.collada.org/2005/11/COLLADASchema">'
        f"<asset>{unit}<up_axis>{up}</up_axis></asset>{IMAGE if paint == TEXTURE else ''}"
        f'<library_effects><effect id="e"><profile_COMMON>{SAMPLER if paint == TEXTURE else ""}'
        f'<technique sid="c"><lambert>{paint}</lambert></technique></profile_COMMON></effect>'
        '</library_effects><library_materials><material id="mat"><instance_effect url="#e"/>'
        f"</material></library_materials><library_geometries>{shape}</library_geometries>"
        f'<library_visual_scenes><visual_scene id="s">{placed}</visual_scene>'
        '</library_visual_scenes><scene><instance_visual_scene url="#s"/></scene></COLLADA>'
    )
    return path


def box(sides: tuple = SIDES) -> str:
    mesh = trimesh.creation.box(bounds=[(0, 0, 0), sides])
    return geometry(mesh.vertices, list(mesh.faces))


def bounds_mm(model: ObjectModel) -> np.ndarray:
    return 1000 * np.array([model.vertices.min(0), model.vertices.max(0)])


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("metres", "name"), [(1.0, "m"), (0.01, "cm"), (0.0254, "inch"), (0.1, "0.1 m")]
)
def test_a_box_is_as_large_as_its_unit_says(
    tmp_path: Path, metres: float, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    unit = f'<unit name="whatever" meter="{metres}"/>'
    model = load_mesh(save(tmp_path / "p.dae", box((0.3, 0.4, 0.5)), unit=unit))
    expected = 1000 * metres * np.array([(0, 0, 0), SIDES])
    np.testing.assert_allclose(bounds_mm(model), expected, rtol=1e-5, atol=1e-6)
    assert f"p.dae: is in {name}, as it states" in caplog.text
    assert model.guessed_unit is None
    np.testing.assert_array_equal(model.colors, [(1, 0, 0)] * len(model.colors))


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("up", ["Z_UP", "Y_UP"])
def test_axes_stay_as_they_are_which_is_said(
    tmp_path: Path, up: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_mesh(save(tmp_path / "p.dae", box(), up=up, unit=""))
    np.testing.assert_allclose(bounds_mm(model)[1], 1000 * np.array(SIDES), rtol=1e-5)
    assert f"p.dae: up is {up[0]} in it; its axes are left as they are" in caplog.text
    assert "as it states" not in caplog.text
    assert model.guessed_unit == "m"


@pytest.mark.usefixtures("reader")
def test_parts_are_at_their_places_and_mirrored_ones_are_not_inside_out(tmp_path: Path) -> None:
    nodes = (
        "<matrix>0 -1 0 1  1 0 0 0  0 0 1 0  0 0 0 1</matrix>",  # x to y, then 1 along x
        "<translate>0 0 0.7</translate><scale>1 1 -1</scale>",
    )
    model = load_mesh(save(tmp_path / "p.dae", box(), nodes=nodes))
    np.testing.assert_allclose(bounds_mm(model), [[0, 0, 0], [1000, 400, 700]], atol=1e-3)
    turned = model.vertices[model.vertices[:, 0] > 0.5]
    np.testing.assert_allclose(turned.min(0), [0.6, 0, 0], atol=1e-6)
    parts = trimesh.Trimesh(model.vertices, model.faces).split()
    assert [p.volume for p in parts] == pytest.approx([0.06, 0.06], rel=1e-4)


@pytest.mark.usefixtures("reader")
def test_a_concave_polygon_keeps_its_notch(tmp_path: Path) -> None:
    ell = np.array([(0, 0), (0.4, 0), (0.4, 0.1), (0.1, 0.1), (0.1, 0.4), (0, 0.4)])
    flat = np.column_stack((np.roll(ell, -1, axis=0), np.zeros(6)))
    model = load_mesh(save(tmp_path / "p.dae", geometry(flat, [np.arange(6)])))
    assert trimesh.Trimesh(model.vertices, model.faces).area == pytest.approx(0.07, rel=1e-5)


@pytest.mark.usefixtures("reader")
def test_colours_of_corners_go_before_the_material(tmp_path: Path) -> None:
    mesh = trimesh.creation.box(bounds=[(0, 0, 0), SIDES])
    colours = {"COLOR": (np.eye(3), "RGB", np.tile([0, 1, 2], 12))}
    model = load_mesh(save(tmp_path / "p.dae", geometry(mesh.vertices, list(mesh.faces), colours)))
    np.testing.assert_array_equal(model.colors[model.faces], np.tile(np.eye(3), (12, 1, 1)))


@pytest.mark.usefixtures("reader")
def test_a_texture_lies_as_it_is_stated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2] = (255, 0, 0)  # the upper half: v above one half
    pixels[2:, :2] = (0, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "t.png")
    mesh = trimesh.creation.box(bounds=[(0, 0, 0), SIDES])
    at = np.array([(0.1, 0.1), (0.4, 0.1), (0.1, 0.9)])
    shape = geometry(
        mesh.vertices, list(mesh.faces), {"TEXCOORD": (at, "ST", np.tile([0, 1, 2], 12))}
    )
    model = load_mesh(save(tmp_path / "p.dae", shape, TEXTURE))
    np.testing.assert_array_equal(model.texture, pixels)
    assert model.uv is not None
    np.testing.assert_allclose(model.uv, np.tile(at, (12, 1, 1)), atol=1e-6)
    colours = model.colors[model.faces[0]]
    np.testing.assert_array_equal(colours, [(0, 1, 0), (0, 1, 0), (1, 0, 0)])
    (tmp_path / "t.png").unlink()
    assert not load_mesh(tmp_path / "p.dae").has_color
    assert "p.dae: its texture is missing (./t.png)" in caplog.text


@pytest.mark.usefixtures("reader")
def test_faults_are_said_and_damaged_files_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path / "p.dae", box())
    whole = path.read_text()
    lamp = "<light id='l'><technique_common><torch/></technique_common></light>"
    lamps = f"<library_lights>{lamp}</library_lights><library_materials>"
    path.write_text(whole.replace("<library_materials>", lamps))
    assert len(load_mesh(path).faces) == 12
    assert "p.dae: 1 fault in it, such as: DaeUnsupportedError: Unrecognized light" in caplog.text
    for damaged, what in ((whole[: len(whole) // 2], "cannot be read"), ("<a/>", "read|no faces")):
        path.write_text(damaged)
        with pytest.raises(InputError, match=what) as caught:
            load_mesh(path)
        assert "\n" not in str(caught.value)


def test_without_the_extra_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the extra is not installed, whether it is here or not."""
    found = mesh_names.find_spec
    monkeypatch.setattr(mesh_names, "find_spec", lambda n: None if n == "collada" else found(n))
    with pytest.raises(
        InputError, match=r'package pycollada. Install it: pip install "self6d-studio\[cad\]"$'
    ):
        load_mesh(save(tmp_path / "p.dae", box()))
