"""Numbers of glTF as exporters and packers store them: the same brick comes back."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from self6d.errors import InputError
from self6d.scene.mesh_io import load_mesh

CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
SIDES = np.array([0.12, 0.08, 0.06])
UV = np.array([[x, y] for x in (0.25, 0.75) for y in (0.125, 0.5)] * 2)


class Gltf:
    """A file in the making: accessors are added one by one."""

    def __init__(self) -> None:
        self.blob, self.views, self.accessors = b"", [], []

    def view(self, values: np.ndarray, **more) -> int:
        self.views.append({"buffer": 0, "byteOffset": len(self.blob), "byteLength": values.nbytes,
                           **more})  # fmt: skip
        self.blob += values.tobytes() + b"\0" * (-values.nbytes % 4)
        return len(self.views) - 1

    def add(self, values: np.ndarray, *, stride: int = 0, **more) -> int:
        width = values.shape[1]
        entry = {"componentType": CODES[values.dtype.str[1:]], "count": len(values),
                 "type": "SCALAR" if width == 1 else f"VEC{width}", **more}  # fmt: skip
        if stride:
            wide = np.zeros((len(values), stride), np.uint8)
            wide[:, : width * values.itemsize] = values.view(np.uint8)
            entry["bufferView"] = self.view(wide, byteStride=stride)
        elif "sparse" not in more:
            entry["bufferView"] = self.view(values)
        self.accessors.append(entry)
        return len(self.accessors) - 1

    def write(self, path: Path, primitive: dict, node: dict | None = None, **more) -> Path:
        tree = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
                "nodes": [{"mesh": 0, **(node or {})}], "meshes": [{"primitives": [primitive]}],
                "accessors": self.accessors, "bufferViews": self.views,
                "buffers": [{"byteLength": len(self.blob)}], **more}  # fmt: skip
        if path.suffix == ".gltf":
            path.with_suffix(".bin").write_bytes(self.blob)
            tree["buffers"][0]["uri"] = path.with_suffix(".bin").name
            path.write_text(json.dumps(tree))
            return path
        text = json.dumps(tree).encode()
        text += b" " * (-len(text) % 4)
        sizes = np.array([2, 28 + len(text) + len(self.blob), len(text), 0x4E4F534A], "<u4")
        head = b"glTF" + sizes.tobytes()
        chunk = np.array([len(self.blob), 0x004E4942], "<u4").tobytes() + self.blob
        path.write_bytes(head + text + chunk)
        return path


def textured() -> dict:
    """A material with an image of its own, as a data URI."""
    import cv2

    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    png = base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()
    table = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    return {"materials": [table], "textures": [{"source": 0}],
            "images": [{"uri": f"data:image/png;base64,{png}"}]}  # fmt: skip


def brick() -> trimesh.Trimesh:
    return trimesh.creation.box(SIDES)


def corners(mesh) -> np.ndarray:
    """Corners of the triangles, sorted: whatever the order and the sharing of vertices."""
    return np.array(sorted(map(tuple, np.round(mesh.vertices[mesh.faces].reshape(-1, 3), 4))))


@pytest.mark.parametrize("suffix", [".glb", ".gltf"])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "normalised i2", "normalised u2"])
def test_quantised_positions_and_texture_coordinates(tmp_path: Path, kind: str, suffix) -> None:
    """As gltfpack and meshoptimizer write them: the node's transform gives the size."""
    normal, dtype = kind.startswith("normalised"), kind[-2:]
    mesh, most = brick(), np.iinfo(dtype).max
    low, high = (0, most) if dtype[0] == "u" else (-most, most)
    steps = np.where(mesh.vertices > 0, high, low).astype(dtype)
    size = (1.0 if normal else most) * (1 if dtype[0] == "u" else 2)
    node = {"scale": (SIDES / size).tolist(),
            "translation": (-SIDES / 2).tolist() if dtype[0] == "u" else [0, 0, 0]}  # fmt: skip
    file = Gltf()
    attributes = {
        "POSITION": file.add(steps, stride=-(-3 * steps.itemsize // 4) * 4, normalized=normal),
        "NORMAL": file.add(np.ones((8, 3), np.int8), stride=4, normalized=True),
        "TEXCOORD_0": file.add(np.round(UV * 65535).astype("u2"), normalized=True),
    }
    primitive = {"attributes": attributes, "material": 0,
                 "indices": file.add(mesh.faces.reshape(-1, 1).astype("u2"))}  # fmt: skip
    path = file.write(tmp_path / f"p{suffix}", primitive, node, **textured(),
                      extensionsRequired=["KHR_mesh_quantization"])  # fmt: skip
    model = load_mesh(path)
    np.testing.assert_allclose(corners(model), corners(mesh), atol=2e-4)
    file = Gltf()
    attributes = {"POSITION": file.add(mesh.vertices.astype("f4")),
                  "TEXCOORD_0": file.add(UV.astype("f4"))}  # fmt: skip
    primitive |= {
        "attributes": attributes,
        "indices": file.add(mesh.faces.reshape(-1, 1).astype("u2")),
    }
    plain = load_mesh(file.write(tmp_path / f"plain{suffix}", primitive, **textured()))
    np.testing.assert_array_equal(model.texture, plain.texture)
    np.testing.assert_allclose(model.uv, plain.uv, atol=1e-4)
    np.testing.assert_allclose(model.vertices, plain.vertices, atol=1e-5)


def test_sparse_positions(tmp_path: Path) -> None:
    """Two corners moved in a file of few changes, and all of them in a file without a base."""
    mesh = brick()
    positions = mesh.vertices.astype("f4")
    base = positions.copy()
    base[[2, 5]] = 0
    for number, (at, there) in enumerate([([2, 5], base), (range(8), None)]):
        file = Gltf()
        rows = np.array(at, "u2").reshape(-1, 1)
        sparse = {"count": len(rows),
                  "indices": {"bufferView": file.view(rows), "componentType": CODES["u2"]},
                  "values": {"bufferView": file.view(positions[rows[:, 0]])}}  # fmt: skip
        index = file.add(positions, sparse=sparse)
        if there is not None:
            file.accessors[index]["bufferView"] = file.view(there)
        primitive = {"attributes": {"POSITION": index},
                     "indices": file.add(mesh.faces.reshape(-1, 1).astype("u4"))}  # fmt: skip
        model = load_mesh(file.write(tmp_path / f"{number}.glb", primitive))
        np.testing.assert_allclose(corners(model), corners(mesh), atol=1e-5)


@pytest.mark.parametrize("indexed", [False, True])
def test_a_fan_has_its_triangles(tmp_path: Path, indexed: bool) -> None:
    angles = np.linspace(0, 2 * np.pi, 13)
    rim = np.column_stack((np.cos(angles), np.sin(angles), 0 * angles))
    points = 0.05 * np.vstack(([[0, 0, 1]], rim))
    file = Gltf()
    primitive = {"attributes": {"POSITION": file.add(points.astype("f4"))}, "mode": 6}
    if indexed:
        primitive["indices"] = file.add(np.arange(14, dtype="u1").reshape(-1, 1))
    model = load_mesh(file.write(tmp_path / "cone.glb", primitive), unit="m")
    assert len(model.faces) == 12
    assert model.diameter == pytest.approx(0.1, abs=1e-6)


def test_what_contradicts_itself_is_one_line(tmp_path: Path) -> None:
    file = Gltf()
    index = file.add(np.zeros((8, 3), "i2"))
    file.accessors[index]["count"] = 10**9
    primitive = {"attributes": {"POSITION": index}}
    with pytest.raises(InputError, match="mesh cannot be read"):
        load_mesh(file.write(tmp_path / "p.glb", primitive))
