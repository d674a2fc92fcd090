"""Hostile CAD files: a repaired model with a note, or one line that says what to do."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import recordings as world
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from self6d.datasets import load_mesh, load_models
from self6d.errors import InputError
from self6d.files import forget_notes
from self6d.scene.models_info import read_models_info

FUZZ = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(path: Path) -> InputError | None:
    """Load a mesh; it must give a sound model or a one-line error, and leave the file alone."""
    before = path.read_bytes() if path.is_file() else None
    error = None
    try:
        model = load_mesh(path)
        assert np.isfinite(model.vertices).all()
        assert 0.01 <= model.diameter <= 2
        assert model.faces.max() < len(model.vertices)
    except InputError as caught:
        error = caught
    if error is not None:
        assert "\n" not in error.one_line()
        assert error.path == path
        assert error.remedy
    assert before is None or path.read_bytes() == before
    return error


def cube_text(path: Path, edit: Callable[[str], str]) -> Path:
    world.cube(path)
    path.write_text(edit(path.read_text()))
    return path


TEXT = {  # edit of the cube's PLY text, whether it still loads
    "empty": (lambda t: "", False),
    "header only": (lambda t: t[: t.index("end_header") + 11], False),
    "half": (lambda t: t[: len(t) // 2], False),
    "no header end": (lambda t: t.replace("end_header\n", ""), False),
    "lfs": (lambda t: "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", False),
    "html": (lambda t: "<html>not found</html>", False),
    "no faces": (lambda t: t.replace("element face 12", "element face 0"), False),
    "too many faces": (lambda t: t.replace("element face 12", "element face 120"), False),
    "a million million faces": (lambda t: t.replace("face 12", "face 1000000000000"), False),
    "negative faces": (lambda t: t.replace("element face 12", "element face -12"), False),
    "faces name missing vertices": (lambda t: t.replace("3 1 7 3", "3 1 7 99"), False),
    "negative index": (lambda t: t.replace("3 1 7 3", "3 1 7 -3"), False),
    "one nan vertex": (lambda t: t.replace("50.0 50.0 50.0", "nan 50.0 50.0"), False),
    "all nan": (lambda t: t.replace("50.0", "nan"), False),
    "inf": (lambda t: t.replace("50.0", "inf"), False),
    "huge": (lambda t: t.replace("50.0", "1e300"), False),
    "all at one point": (lambda t: t.replace("-50.0", "50.0"), False),
    "flat": (lambda t: t.replace(" -50.0 ", " 50.0 "), None),
    "words": (lambda t: t.replace("50.0", "fifty"), False),
    "quads": (lambda t: t.replace("element face 12", "element face 1")
              [: t.index("3 0 1 3") - 1] + "4 0 1 3 2\n", None),
    "crlf": (lambda t: t.replace("\n", "\r\n"), None),
    "doubled rows": (lambda t: t + t, None),
    "wrong format word": (lambda t: t.replace("ascii", "klingon"), False),
    "big endian word": (lambda t: t.replace("ascii", "binary_big_endian"), False),
    "unknown property": (lambda t: t.replace("uchar red", "uchar rot"), None),
    "wrong unit": (lambda t: t.replace("50.0", "50000000.0"), False),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXT)
def test_ply(tmp_path: Path, case: str) -> None:
    edit, loads = TEXT[case]
    error = load(cube_text(tmp_path / "cube.ply", edit))
    if loads is not None:
        assert (error is None) == loads, error


BYTES = {
    "empty": b"",
    "zeros": bytes(1000),
    "noise": np.random.default_rng(0).bytes(2000),
    "text": b"solid nothing\nendsolid\n",
    "lfs": b"version https://git-lfs.github.com/spec/v1\n",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "glb head": b"glTF" + struct.pack("<II", 2, 20),
    "glb huge": b"glTF" + struct.pack("<IIII", 2, 2**31, 2**31, 0x4E4F534A) + b"{}",
    "json": b'{"asset": {"version": "2.0"}}',
    "json wrong shape": b'{"meshes": 3, "asset": {"version": "2.0"}}',
    "stl count": bytes(80) + struct.pack("<I", 2**31 - 1),
    "obj faces only": b"f 1 2 3\n",
    "obj vertices only": b"v 0 0 0\nv 1 0 0\nv 0 1 0\n",
    "obj outside": b"mtllib ../../../../etc/passwd\nv 0 0 0\nv .1 0 0\nv 0 .1 0\nf 1 2 3\n",
}


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb", ".gltf", ".stl", ".off"])
@pytest.mark.parametrize("case", BYTES)
def test_bytes(tmp_path: Path, suffix: str, case: str) -> None:
    path = tmp_path / f"thing{suffix}"
    path.write_bytes(BYTES[case])
    load(path)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb", ".stl", ".off"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"box{suffix}"
    trimesh.creation.icosphere(radius=0.05).export(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    error = load(path)
    if suffix in (".ply", ".glb"):
        assert error is not None


def obj_of_a_ball() -> str:
    return trimesh.creation.icosphere(2, radius=0.05).export(file_type="obj").rstrip("\n")


@pytest.mark.parametrize("end", ["f 1 2", "f 1", "f", "f 1/1 2/2 3/", "v 0.1 0.2", "vn 1 0"])
def test_an_obj_cut_off_in_a_line_is_refused(tmp_path: Path, end: str) -> None:
    """It loaded without the face, and without all that followed it, unsaid."""
    path = tmp_path / "ball.obj"
    path.write_text(f"{obj_of_a_ball()}\n{end}")
    error = load(path)
    assert error is not None
    assert error.what == f"mesh is truncated: its last line is cut off ({end})"
    path.write_text(obj_of_a_ball())  # whole, without an end of its last line
    assert load(path) is None


def test_an_obj_cut_off_between_lines_says_what_it_lacks(tmp_path: Path, caplog) -> None:
    """Half the faces were missing unsaid; so were vertices of no face in any OBJ."""
    path, lines = tmp_path / "ball.obj", obj_of_a_ball().split("\n")
    path.write_text("\n".join(lines[:-200]) + "\n")
    assert load(path) is None
    corners = {word for line in lines[:-200] if line[:2] == "f " for word in line.split()[1:]}
    left_out = f"left out {162 - len(corners)} of 162 vertices that no face uses"
    assert f"{left_out}; the file may be cut off" in caplog.text
    path.write_text("v 9 9 9\n" + re.sub(r"(?<=[f ])(\d+)(?=[ \n]|$)", plus_one, obj_of_a_ball()))
    caplog.clear()
    forget_notes()
    assert load(path) is None
    assert "left out 1 of 163 vertices that no face uses" in caplog.text
    assert "cut off" not in caplog.text


def plus_one(number: re.Match[str]) -> str:
    return str(int(number.group()) + 1)


def test_faces_of_an_obj_that_cannot_be(tmp_path: Path, caplog) -> None:
    """Vertex 0 was the last one, an edge was left out unsaid, 163 of 162 an IndexError."""
    path = tmp_path / "ball.obj"
    for face in ("f 1 2 163", "f 0 1 2", "f -1 -2 -163"):
        path.write_text(f"{obj_of_a_ball()}\n{face}\n")
        error = load(path)
        assert error is not None
        assert re.match(r"a face names vertex (163|0|-?\d+), and it has 162 vertices", error.what)
    path.write_text(f"{obj_of_a_ball()}\nf 1 2\n")
    assert load(path) is None
    assert "left out 1 face of fewer than three corners" in caplog.text


@pytest.mark.parametrize("less", [1, 4, 2000])
def test_a_short_off_is_refused(tmp_path: Path, less: int) -> None:
    """It loaded with the faces it had."""
    path = tmp_path / "ball.off"
    text = trimesh.creation.icosphere(2, radius=0.05).export(file_type="off").rstrip("\n")
    path.write_text(text)
    assert load(path) is None
    path.write_text(text[:-less] if less > 1 else text.rpartition(" ")[0])
    error = load(path)
    assert error is not None
    assert error.what == "mesh is truncated: it promises 162 vertices and 320 faces"


def test_a_short_stl_says_how_much_it_lacks(tmp_path: Path) -> None:
    data = trimesh.creation.icosphere(radius=0.05).export(file_type="stl")
    path = tmp_path / "ball.stl"
    path.write_bytes(data[:-60])
    error = load(path)
    assert error is not None
    assert "header promises 1280 triangles, and it holds 1278" in error.what


@pytest.mark.parametrize("suffix", [".xyz", ".fbx", ".txt", "", ".ply.gz"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"thing{suffix}"
    path.write_bytes(b"data")
    error = load(path)
    assert error is not None
    assert "format" in error.what


def test_a_few_nan_vertices_are_left_out(tmp_path: Path) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=50)
    vertices = np.array(mesh.vertices)
    vertices[7] = np.nan
    path = world.cube(tmp_path / "ball.ply", vertices=vertices, faces=mesh.faces)
    model = load_mesh(path)
    assert len(model.vertices) == len(vertices) - 1
    assert len(mesh.faces) - 6 <= len(model.faces) < len(mesh.faces)


def test_a_million_duplicates(tmp_path: Path) -> None:
    box = trimesh.creation.box((100, 100, 100))
    times = 28_000  # 36 corners each: a million vertices in eight places
    vertices = np.tile(box.vertices[box.faces].reshape(-1, 3), (times, 1))
    faces = np.arange(len(vertices)).reshape(-1, 3)
    soup = trimesh.Trimesh(vertices, faces, process=False)
    soup.export(tmp_path / "soup.ply")
    model = load_mesh(tmp_path / "soup.ply")
    assert len(model.vertices) == 8


def test_links(tmp_path: Path) -> None:
    (tmp_path / "self.ply").symlink_to(tmp_path / "self.ply")
    (tmp_path / "gone.ply").symlink_to(tmp_path / "nowhere.ply")
    (tmp_path / "folder.ply").mkdir()
    for name in ("self.ply", "gone.ply", "folder.ply"):
        assert load(tmp_path / name) is not None
    with pytest.raises(InputError):
        load_models(tmp_path)


INFOS = {
    "list": [],
    "text": "x",
    "word key": {"ape": {}},
    "entry list": {"1": []},
    "entry null": {"1": None},
    "negative diameter": {"1": {"diameter": -3}},
    "text diameter": {"1": {"diameter": "wide"}},
    "nan diameter": {"1": {"diameter": float("nan")}},
    "huge diameter": {"1": {"diameter": 1e300}},
    "too long diameter": {"1": {"diameter": 10**400}},
    "short symmetry": {"1": {"symmetries_discrete": [[1, 0, 0]]}},
    "symmetry no list": {"1": {"symmetries_discrete": 3}},
    "symmetry no turn": {"1": {"symmetries_discrete": [[2] * 16]}},
    "symmetry text": {"1": {"symmetries_discrete": [["a"] * 16]}},
    "symmetry nan": {"1": {"symmetries_discrete": [[float("nan")] * 16]}},
    "axis zero": {"1": {"symmetries_continuous": [{"axis": [0, 0, 0]}]}},
    "axis missing": {"1": {"symmetries_continuous": [{}]}},
    "axis list": {"1": {"symmetries_continuous": [[0, 0, 1]]}},
    "offset text": {"1": {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": "none"}]}},
    "name number": {"1": {"name": 3}},
}


@pytest.mark.parametrize("case", INFOS)
def test_models_info(tmp_path: Path, case: str) -> None:
    world.cube(tmp_path / "obj_000001.ply")
    world.dump(tmp_path / "models_info.json", INFOS[case])
    error = None
    try:
        (model,) = load_models(tmp_path)
        assert model.diameter == pytest.approx(0.1 * 3**0.5)
        assert not model.symmetric
    except InputError as caught:
        error = caught
    if error is not None:
        assert error.path == tmp_path / "models_info.json"
        assert error.remedy


@FUZZ
@given(cut=st.integers(0, 2000), noise=st.binary(max_size=8), suffix=st.sampled_from(
    [".ply", ".obj", ".glb", ".stl", ".off"]))  # fmt: skip
def test_fuzzed_meshes(tmp_path_factory, cut: int, noise: bytes, suffix: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    path = folder / f"box{suffix}"
    trimesh.creation.box((0.1, 0.2, 0.3)).export(path)
    data = path.read_bytes()
    at = cut % len(data)
    path.write_bytes(data[:at] + noise + data[at + len(noise) :])
    load(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["1", "diameter", "symmetries_discrete", "symmetries_continuous", "axis"]),
        inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@FUZZ
@given(table=JSON)
def test_fuzzed_models_info(tmp_path_factory, table) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz_info"
    folder.mkdir(exist_ok=True)
    (folder / "models_info.json").write_text(json.dumps(table))
    error = None
    try:
        for info in read_models_info(folder).values():
            assert info.diameter_mm is None or 0 < info.diameter_mm < 1e6
            assert np.isfinite(info.symmetry.transforms(4)).all()
    except InputError as caught:
        error = caught
    assert error is None or error.remedy
