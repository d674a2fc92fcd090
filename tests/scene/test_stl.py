"""STL files as programs write them: colours, bytes behind the end, names, headers that lie."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from self6d.datasets import load_mesh
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.scene import ObjectModel

BOX = trimesh.creation.box((120.0, 80, 60))
FIVES = np.array([((5 * k) % 32, (31 - 2 * k) % 32, (7 * k + 3) % 32) for k in range(12)])


@pytest.fixture(autouse=True)
def _fresh_notes() -> None:
    forget_notes()


def binary(words, header: bytes = b"", count: int = 12) -> bytes:
    out = header.ljust(80, b"\0") + struct.pack("<I", count)
    for normal, corners, word in zip(BOX.face_normals, BOX.triangles, words, strict=True):
        out += struct.pack("<12fH", *normal, *corners.reshape(-1), int(word))
    return out


def read(path: Path, data: bytes) -> ObjectModel:
    path.write_bytes(data)
    model = load_mesh(path, unit="mm")
    np.testing.assert_allclose(np.ptp(model.extents, axis=0), [0.12, 0.08, 0.06], atol=1e-6)
    assert len(model.faces) == 12
    return model


def face_colours(model: ObjectModel) -> np.ndarray:
    """(12, 3) in [0, 255], in the file's order, each one colour over its triangle."""
    of_corners = 255 * model.colors[model.faces]
    assert np.ptp(of_corners, axis=1).max() < 0.01
    return of_corners[:, 0]


def test_colours_as_viscam_writes_them(tmp_path: Path, caplog) -> None:
    words = (1 << 15) + FIVES @ np.array([1 << 10, 1 << 5, 1])
    model = read(tmp_path / "box.stl", binary(words))
    assert model.has_color
    np.testing.assert_allclose(face_colours(model), FIVES * 255 / 31, atol=0.6)
    words[4] = 0
    some = face_colours(read(tmp_path / "some.stl", binary(words)))
    np.testing.assert_allclose(some[5], FIVES[5] * 255 / 31, atol=0.6)
    np.testing.assert_allclose(some[4], 153, atol=0.6)
    assert "1 of its 12 triangles have no colour; they are grey" in caplog.text


def test_colours_as_magics_writes_them(tmp_path: Path) -> None:
    words = FIVES @ np.array([1, 1 << 5, 1 << 10])
    words[3] |= 1 << 15  # as the whole object
    header = b"COLOR=" + bytes([200, 100, 50, 255]) + b",MATERIAL=" + bytes(12)
    colours = face_colours(read(tmp_path / "box.stl", binary(words, header)))
    expected = FIVES * 255 / 31
    expected[3] = (200, 100, 50)
    np.testing.assert_allclose(colours, expected, atol=0.6)


def test_a_colour_in_the_header_alone(tmp_path: Path, caplog) -> None:
    header = b"COLOR=" + bytes([200, 100, 50, 255])
    colours = face_colours(read(tmp_path / "box.stl", binary([0] * 12, header)))
    np.testing.assert_allclose(colours, np.tile((200, 100, 50), (12, 1)), atol=0.6)
    assert "all have the header's" in caplog.text


def test_without_colour(tmp_path: Path) -> None:
    assert not read(tmp_path / "box.stl", binary([0] * 12)).has_color


@pytest.mark.parametrize("header", [b"", b"solid of some program"])
def test_bytes_behind_the_end_are_told_of(tmp_path: Path, caplog, header: bytes) -> None:
    read(tmp_path / "box.stl", binary([0] * 12, header) + b"\r\n")
    assert "left out 2 bytes behind its 12 triangles" in caplog.text


def test_a_header_that_counts_none(tmp_path: Path, caplog) -> None:
    """As programs leave it that did not know the number when they began."""
    read(tmp_path / "box.stl", binary([0] * 12, count=0))
    assert "counts no triangles; it holds 12" in caplog.text


def text(name: str, ends: str = "\n") -> str:
    lines = [f"solid {name}"]
    for normal, corners in zip(BOX.face_normals, BOX.triangles, strict=True):
        lines += ["facet normal {:g} {:g} {:g}".format(*normal), " outer loop"]
        lines += ["  vertex {:e} {:e} {:e}".format(*corner) for corner in corners]
        lines += [" endloop", "endfacet"]
    return ends.join([*lines, f"endsolid {name}", ""])


@pytest.mark.parametrize("name", ["", "Vertex part", "my endsolid", "normal vertex 2", "solid"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_the_name_of_a_solid_is_no_geometry(tmp_path: Path, name: str, ends: str) -> None:
    read(tmp_path / "box.stl", text(name, ends).encode())


def test_a_solid_without_its_end_is_not_left_out(tmp_path: Path) -> None:
    whole = text("one") + text("two")
    (tmp_path / "box.stl").write_text(whole[: whole.rindex("vertex")])
    with pytest.raises(InputError, match="its last solid has no end"):
        load_mesh(tmp_path / "box.stl", unit="mm")
