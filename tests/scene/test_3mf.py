"""3MF files: unit, places, colours and textures, and what is left out."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from self6d.datasets import load_mesh, load_models
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.scene import mesh_names
from self6d.scene.mesh import ObjectModel

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
MATERIAL = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
TO_MODEL = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
TO_TEXTURE = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dtexture"


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    forget_notes()
    caplog.set_level(logging.WARNING, "self6d")


@pytest.fixture
def reader() -> None:
    pytest.importorskip("lib3mf", reason="3MF is read by the extra [cad]")


def box(number: int, sides: tuple, of_face: dict[int, str] | None = None, more: str = "") -> str:
    """An object: a box from the origin. Args: of_face: attributes of triangles."""
    mesh = trimesh.creation.box(bounds=[(0, 0, 0), sides])
    vertices = "".join('<vertex x="{}" y="{}" z="{}"/>'.format(*v) for v in mesh.vertices)
    triangles = "".join(
        '<triangle v1="{}" v2="{}" v3="{}" {}/>'.format(*f, (of_face or {}).get(i, ""))
        for i, f in enumerate(mesh.faces)
    )
    return (
        f'<object id="{number}" {more}><mesh><vertices>{vertices}</vertices>'
        f"<triangles>{triangles}</triangles></mesh></object>"
    )


def save(
    path: Path, resources: str, items: str, unit: str = "millimeter", image: bytes = b""
) -> Path:
    stated = f'unit="{unit}"' if unit else ""
    model = (
        f'<?xml version="1.0" encoding="UTF-8"?><model {stated} xmlns="{CORE}" '
        f'xmlns:m="{MATERIAL}">'
        f"<resources>{resources}</resources><build>{items}</build></model>"
    )
    relation = '<Relationship Id="r" Target="{}" Type="{}"/>'
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(
            "[Content_Types].xml",
            f'<?xml version="1.0" encoding="UTF-8"?><Types xmlns="{TYPES}">'
            '<Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="model" '
            'ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>'
            '<Default Extension="png" ContentType="image/png"/></Types>',
        )
        head = f'<?xml version="1.0" encoding="UTF-8"?><Relationships xmlns="{RELATIONS}">'
        to_model = relation.format("/3D/3dmodel.model", TO_MODEL)
        packed.writestr("_rels/.rels", f"{head}{to_model}</Relationships>")
        packed.writestr("3D/3dmodel.model", model)
        if image:
            to_image = relation.format("/3D/Textures/t.png", TO_TEXTURE)
            packed.writestr("3D/_rels/3dmodel.model.rels", f"{head}{to_image}</Relationships>")
            packed.writestr("3D/Textures/t.png", image)
    return path


def bounds_mm(model: ObjectModel) -> np.ndarray:
    return 1000 * np.array([model.vertices.min(0), model.vertices.max(0)])


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("unit", "millimetres", "name"),
    [("inch", 25.4, "inch"), ("centimeter", 10, "cm"), ("foot", 304.8, "foot"), ("", 1, "mm")],
)
def test_a_box_is_as_large_as_its_unit_says(
    tmp_path: Path, unit: str, millimetres: float, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(tmp_path / "p.3mf", box(1, (3, 4, 5)), '<item objectid="1"/>', unit)
    model = load_mesh(path)
    expected = np.multiply([[0, 0, 0], [3, 4, 5]], millimetres)
    np.testing.assert_allclose(bounds_mm(model), expected, rtol=1e-5, atol=1e-6)
    assert f"p.3mf: is in {name}, as it states" in caplog.text
    assert not model.has_color
    assert model.guessed_unit is None


@pytest.mark.usefixtures("reader")
def test_parts_are_at_their_places(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    turn = "0 1 0 -1 0 0 0 0 1 100 0 0"  # x to y, then 100 along x
    resources = (
        box(1, (10, 20, 30))
        + '<object id="2"><components><component objectid="1"/>'
        + f'<component objectid="1" transform="{turn}"/></components></object>'
        + box(3, (5, 5, 5), more='type="support"')
    )
    lift = "1 0 0 0 1 0 0 0 1 0 0 7"
    items = f'<item objectid="2" transform="{lift}"/><item objectid="1"/><item objectid="3"/>'
    model = load_mesh(save(tmp_path / "p.3mf", resources, items))
    assert len(model.faces) == 36
    np.testing.assert_allclose(bounds_mm(model), [[0, 0, 0], [100, 20, 37]], atol=1e-3)
    turned = model.vertices[1000 * model.vertices[:, 0] > 50]
    np.testing.assert_allclose(1000 * turned.min(0), [80, 0, 7], atol=1e-3)
    assert "holds 2 objects, which are read as one, at their places" in caplog.text
    assert "left out 1 object that only support its print" in caplog.text


@pytest.mark.usefixtures("reader")
def test_colours_of_objects_faces_and_corners(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resources = (
        '<basematerials id="8"><base name="a" displaycolor="#804020"/></basematerials>'
        '<m:colorgroup id="9"><m:color color="#FF0000"/><m:color color="#00FF00"/>'
        '<m:color color="#0000FFFF"/></m:colorgroup>'
    )
    of_face = {0: 'pid="9" p1="1"', 1: 'pid="9" p1="0" p2="1" p3="2"'}
    resources += box(1, (30, 40, 50), of_face, 'pid="8" pindex="0"') + box(2, (9, 9, 9))
    path = save(tmp_path / "p.3mf", resources, '<item objectid="1"/>')
    model = load_mesh(path)
    mesh = trimesh.creation.box(bounds=[(0, 0, 0), (30, 40, 50)])
    corners = {i: mesh.triangles[i] for i in (0, 1, 2)}
    found = 1000 * model.vertices[model.faces]
    for i, colours in (
        (0, [(0, 1, 0)] * 3),
        (1, np.eye(3)),
        (2, [(128 / 255, 64 / 255, 32 / 255)] * 3),
    ):
        (face,) = np.flatnonzero((abs(found - corners[i]) < 1e-3).all((1, 2)))
        np.testing.assert_allclose(model.colors[model.faces[face]], colours, atol=1e-6)
    assert "no colour" not in caplog.text
    load_mesh(save(path, resources, '<item objectid="1"/><item objectid="2"/>'))
    assert "12 of its 24 triangles have no colour; they are grey" in caplog.text


@pytest.mark.usefixtures("reader")
def test_a_texture_lies_as_it_is_stated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2] = (255, 0, 0)  # the upper half: v above one half
    pixels[2:, :2] = (0, 255, 0)
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "png")
    resources = (
        '<m:texture2d id="4" path="/3D/Textures/t.png" contenttype="image/png"/>'
        '<m:texture2dgroup id="5" texid="4"><m:tex2coord u="0.1" v="0.1"/>'
        '<m:tex2coord u="0.4" v="0.1"/><m:tex2coord u="0.1" v="0.9"/></m:texture2dgroup>'
    ) + box(1, (30, 40, 50), dict.fromkeys(range(12), 'pid="5" p1="0" p2="1" p3="2"'))
    item = '<item objectid="1"/>'
    model = load_mesh(save(tmp_path / "p.3mf", resources, item, image=stored.getvalue()))
    assert model.has_color
    assert model.uv is not None
    np.testing.assert_array_equal(model.texture, pixels)
    np.testing.assert_allclose(model.uv[0], [(0.1, 0.1), (0.4, 0.1), (0.1, 0.9)], atol=1e-6)
    colours = model.colors[model.faces[0]]
    np.testing.assert_array_equal(colours, [(0, 1, 0), (0, 1, 0), (1, 0, 0)])
    damaged = save(tmp_path / "q.3mf", resources, item, image=stored.getvalue()[:40])
    assert not load_mesh(damaged).has_color
    assert "q.3mf: its texture cannot be read" in caplog.text


@pytest.mark.usefixtures("reader")
def test_colours_painted_in_a_slicer_are_said_to_be_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resources = box(1, (30, 40, 50), {0: 'paint_color="8"'})
    load_mesh(save(tmp_path / "p.3mf", resources, '<item objectid="1"/>'))
    assert "the colours painted in a slicer are not read" in caplog.text


@pytest.mark.usefixtures("reader")
def test_faults_that_the_parser_passes_over_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {0: 'pid="77" p1="0"'}
    load_mesh(save(tmp_path / "p.3mf", box(1, (30, 40, 50), wrong), '<item objectid="1"/>'))
    assert re.search(r"p.3mf: \d faults? in it, such as: \w+ \w+", caplog.text)


@pytest.mark.usefixtures("reader")
def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = save(tmp_path / "p.3mf", box(1, (3, 4, 5)), '<item objectid="1"/>')
    whole = path.read_bytes()
    empty = save(tmp_path / "q.3mf", box(1, (3, 4, 5)), "").read_bytes()
    for damaged, what in ((whole[:300], "cannot be read"), (b"PK" * 50, "cannot be read"),
                          (empty, "no faces")):  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=what) as caught:
            load_mesh(path)
        assert "\n" not in str(caught.value)


def test_without_the_extra_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the extra is not installed, whether it is here or not."""
    found = mesh_names.find_spec
    monkeypatch.setattr(mesh_names, "find_spec", lambda n: None if n == "lib3mf" else found(n))
    save(tmp_path / "p.3mf", box(1, (3, 4, 5)), '<item objectid="1"/>')
    with pytest.raises(
        InputError, match=r'lib3mf. Install it: pip install "self6d-studio\[cad\]"$'
    ):
        load_models(tmp_path)
