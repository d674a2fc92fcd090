"""Random bytes and tables into the readers: a sound load or a one-line error, nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import recordings as world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from self6d.datasets import open_dataset
from self6d.datasets.images import read_depth_raw, read_rgb
from self6d.datasets.intrinsics import read_intrinsics
from self6d.datasets.readers.bop import read_targets
from self6d.datasets.readers.single import read_poses
from self6d.errors import InputError

FUZZ = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBER = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
KEYS = ("0", "1", "cam_K", "K", "fx", "fy", "cx", "cy", "depth_scale", "cam_R_m2c", "cam_t_m2c",
        "obj_id", "R", "t", "TWO", "label", "data", "width", "height", "im_id", "scene_id",
        "adapt")  # fmt: skip
JSON = st.recursive(
    NUMBER | st.lists(st.floats(-1e3, 1e3), min_size=9, max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=16,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.bop(tmp_path_factory.mktemp("fuzz"), range(2))


def one_line(error: InputError) -> None:
    assert "\n" not in error.one_line()
    assert error.remedy


@FUZZ
@given(table=JSON)
def test_tables(root: Path, table) -> None:
    path = root / "table.json"
    path.write_text(json.dumps(table))
    for read in (read_intrinsics, read_poses, read_targets):
        try:
            read(path)
        except InputError as error:
            one_line(error)
    path.unlink()


@FUZZ
@given(
    table=JSON,
    name=st.sampled_from(
        ["test/000001/scene_camera.json", "test/000001/scene_gt.json",
         "test/000001/scene_gt_info.json", "splits.json"]),
)  # fmt: skip
def test_bop_files(root: Path, table, name: str) -> None:
    path = root / name
    was = path.read_bytes() if path.exists() else None
    path.write_text(json.dumps(table))
    try:
        dataset = open_dataset(root)
        for i in range(len(dataset)):
            assert np.isfinite(dataset.frame(i).camera.K).all()
            dataset.truth(i)
    except InputError as error:
        one_line(error)
    finally:
        if was is None:
            path.unlink()
        else:
            path.write_bytes(was)


@FUZZ
@given(at=st.integers(0, 5000), noise=st.binary(min_size=1, max_size=16), depth=st.booleans())
def test_images(root: Path, at: int, noise: bytes, depth: bool) -> None:
    source = root / "test" / "000001" / ("depth" if depth else "rgb") / "000000.png"
    data = source.read_bytes()
    at %= len(data)
    path = root / "image.png"
    path.write_bytes(data[:at] + noise + data[at + len(noise) :])
    try:
        image = read_depth_raw(path) if depth else read_rgb(path)
        assert image.ndim == (2 if depth else 3)
    except InputError as error:
        one_line(error)
    path.unlink()
