"""Files that name other files: nothing outside their own folder is read or written."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as world

from self6d.datasets import load_mesh, open_dataset
from self6d.errors import InputError, Self6DError

PICTURE = np.full((8, 8, 3), (200, 10, 10), np.uint8)


@pytest.fixture
def secret(tmp_path) -> Path:
    path = tmp_path / "secret.png"
    cv2.imwrite(str(path), PICTURE)
    return path


@pytest.mark.parametrize("name", ["../secret.png", "rgb/../../secret.png", "{secret}"])
@pytest.mark.parametrize("which", ["rgb.txt", "depth.txt"])
def test_image_list(tmp_path, secret, which, name):
    root = world.tum(tmp_path / "data")
    time = (root / which).read_text().splitlines()[1].split()[0]
    (root / which).write_text(f"{time} {name.format(secret=secret)}\n")
    with pytest.raises(InputError, match="outside its folder"):
        open_dataset(root)


OBJ = "v 0 0 0\nv .1 0 0\nv 0 .1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl m\nf 1/1 2/2 3/3\n"
MTL = "newmtl m\nKd 1 1 1\nmap_Kd {}\n"


@pytest.mark.parametrize("place", ["inside", "mtl outside", "picture outside", "picture absolute"])
def test_material_of_an_obj(tmp_path, secret, place):
    folder = tmp_path / "model"
    folder.mkdir()
    cv2.imwrite(str(folder / "own.png"), PICTURE)
    pictures = {"inside": "own.png", "mtl outside": "secret.png",
                "picture outside": "../secret.png", "picture absolute": str(secret)}  # fmt: skip
    material = tmp_path / "m.mtl" if place == "mtl outside" else folder / "m.mtl"
    material.write_text(MTL.format(pictures[place]))
    library = "../m.mtl" if place == "mtl outside" else "m.mtl"
    (folder / "model.obj").write_text(f"mtllib {library}\n{OBJ}")
    try:
        model = load_mesh(folder / "model.obj")
    except Self6DError as error:
        assert place != "inside", error  # noqa: PT017
        return
    assert (model.texture is not None) == (place == "inside")


@pytest.mark.parametrize(
    "uri", ["own.bin", "../secret.bin", "{secret}", "file://{secret}", "http://x.org/a"]
)
def test_buffer_of_a_gltf(tmp_path, uri):
    corners = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]], np.float32)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(corners.tobytes())
    content = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": uri.format(secret=secret), "byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "model.gltf"
    path.write_text(json.dumps(content))
    (tmp_path / "model" / "own.bin").write_bytes(corners.tobytes())
    if uri == "own.bin":
        assert len(load_mesh(path).vertices) == 3
        return
    with pytest.raises(InputError):
        load_mesh(path)
